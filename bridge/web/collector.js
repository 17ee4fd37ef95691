// The collector: remembers (with consent) by which clicks a visitor came, fills hidden fields of forms, and tells the
// bridge when a form is sent. ES5; never throws into the page; one global, bridgeCollector; no cookie of its own.
// Served with the tenant's settings in the place of SETTINGS. After a change: make snippet (writes collector.min.js).
(function (w, d, s) {
  var me = d.currentScript,
    url = s.url || (me ? me.src.replace(/\.js([?#].*)?$/, "") : ""),
    began = +new Date(),
    here = { l: w.location.href.slice(0, 2e3), r: d.referrer.slice(0, 2e3), t: began },
    load = safe(function () { return JSON.parse(w.localStorage[s.store]) }),
    save = safe(function () { w.localStorage[s.store] = JSON.stringify(memory) }),
    memory = load() || {},
    // Who is remembered has agreed before.
    allowed = memory.f || !s.ask,
    ours = [], noted, counter,
    names = {
      _ym_uid: "client_id", _ga: "ga_client_id", _fbc: "fbclid", _gcl_aw: "gclid", _gcl_ag: "gbraid",
      _gcl_gb: "wbraid", rb_clickid: "rb_clickid", roistat_visit: "roistat"
    }

  // Whatever goes wrong stays in here.
  function safe(f) {
    return function (x) { try { return f(x) } catch (e) {} }
  }

  // The landing that counts is the last one that shows a click or a mark. Another visit begins after half an hour.
  function note() {
    var m = memory
    m.f = m.f || here
    if (!m.l || /[?&#](utm_|\w*cl(ick)?id=|[gw]braid=)/.test(here.l)) m.l = here
    m.n = (m.n || 0) + (began - (m.v || 0) > 18e5 ? 1 : 0)
    m.v = began
    m.p = [w.location.pathname.slice(0, 200)].concat(m.p || []).slice(0, 20)
    save(noted = 1)
  }

  // Identifiers by their kind, without the version and time that cookies carry before them.
  function known() {
    var found = {}
    d.cookie.replace(/(\w+)=([^;]*)/g, function (all, name, text) {
      var session = /^_ga_/.test(name) && text.match(/^GS\d\.\d\.s?(\d+)/), kind = names[name]
      if (session) found.ga_session_id = session[1]
      if (kind) found[kind] = text.replace(/^(GCL\.\d+|GA\d\.[\d-]+|fb\.\d\.\d+)\./, "")
    })
    if (counter) found.client_id = counter
    return found
  }

  // One for each form of a page: it leads from the deal in the CRM to what is posted.
  function key(form) {
    var text = "bl", n = 24, some = w.crypto && w.crypto.getRandomValues(new Uint8Array(n))
    while (n--) text += ((some ? some[n] : Math.random() * 256 | 0) % 36).toString(36)
    return form._bridge = form._bridge || text
  }

  function value(kind, form) {
    var m = memory.l, found = RegExp("[?&#]" + kind + "=([^&#]*)").exec(m.l), text = found && found[1].replace(/\+/g, " ")
    return kind == "lead_key" ? key(form) : kind == "landing_page" ? m.l : kind == "referrer" ? m.r
      : text ? safe(decodeURIComponent)(text) || text : known()[kind] || ""
  }

  function fill(form) {
    if (!allowed || !form || !form.elements) return
    var all = form.elements, kinds = {}, kind, name, i, e
    for (kind in s.fields) {
      name = s.fields[kind]
      kinds[0 + name] = kind  // no name of an object's own, such as "constructor"
      if (s.add && !all[name]) {
        e = d.createElement("input")
        e.type = "hidden"
        e.name = name
        form.appendChild(e)
      }
    }
    for (i = 0; e = all[i++];) {
      kind = kinds[0 + e.name] || e.getAttribute("data-bridge")
      if (kind) {
        e.value = value(kind, form)
        ours.push(e)
      }
    }
  }

  function typed(form, selector) {
    var e = selector && form.querySelector(selector)
    return e && e.value ? [e.value.slice(0, 300)] : []
  }

  function aged(landing) {
    return { l: landing.l, r: landing.r, a: (new Date() - landing.t) / 1e3 }
  }

  function send(form) {
    fill(form)
    if (!allowed || !s.post || !url) return
    var m = memory, trap = form.elements[s.trap], n = w.navigator, x, body = JSON.stringify({
      v: 1, k: key(form), c: known(), l: aged(m.l), f: aged(m.f), n: m.n, p: m.p, s: (new Date() - began) / 1e3,
      h: trap && trap.value ? 1 : 0, i: (form.id + "").slice(0, 80),
      x: { p: typed(form, s.phone), e: typed(form, s.email) }
    })
    if (n.sendBeacon && n.sendBeacon(url, body)) return
    x = new XMLHttpRequest()
    x.open("POST", url)
    x.send(body)
  }

  // No: forget everything. Anything else: remember from now on.
  function consent(yes) {
    allowed = yes !== false
    if (!allowed) {
      noted = 0
      memory = {}
      while (ours[0]) ours.pop().value = ""
      delete w.localStorage[s.store]
    } else if (!noted) {
      note();
      [].slice.call(d.forms).forEach(fill)
    }
  }

  w.bridgeCollector = { consent: safe(consent), fill: safe(fill), send: safe(send) }
  var ready = safe(function () {
    if (allowed || d.querySelector("[data-bridge-consent]")) consent()
    if (s.ym) w.ym(s.ym, "getClientID", function (id) { counter = id })
  })
  // Forms that are added later are met when somebody enters or sends them.
  safe(function () {
    d.addEventListener("focusin", safe(function (e) { fill(e.target.form) }))
    d.addEventListener("submit", safe(function (e) { send(e.target) }), true)
    d.readyState == "loading" ? d.addEventListener("DOMContentLoaded", ready) : ready()
  })()
})(window, document, SETTINGS)
