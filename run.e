config.toml does not exist; write it with "bridge init", or name a file with --config
