// The page between the run and the agent's workspace. The run offers a message by its
// number; the page takes it, publishes it on the workspace's bus with postMessage, and
// brings every pseudonymization response and error message that it hears back to the run, which
// knows what to do with it.
//
// Messages go to, and are heard from, the configured workspace alone. Nothing is kept here,
// and nothing but masked identifiers is shown.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

  // What a page that is loaded again goes on with: an address serves one page.
  const kept = (() => {
    try { return JSON.parse(sessionStorage.getItem("expunge")) || {}; } catch { return {}; }
  })();

  let code = location.hash.slice(1) || kept.code || ""; // the token: never in a request line
  let page = kept.code === code ? kept.page : "";       // our place with the run
  let run = null;                    // what the run told at the beginning
  let subscriber = null;             // our id on the bus; null: not registered
  let taking = 0;                    // the number of the message that is being taken
  let wake = () => {};               // ends a poll early

  function say(text) {
    byId("status").textContent = text;
  }

  // call asks the run. Its result has the status, and the answer where that is 200; status
  // 0 means that nobody answered.
  async function call(what, body, signal) {
    try {
      const r = await fetch("/v1/" + what, {
        method: "POST", signal, cache: "no-store", credentials: "omit", redirect: "error",
        headers: {"Content-Type": "application/json", "Authorization": "Bearer " + code},
        body: JSON.stringify({page, ...body}),
      });
      return {status: r.status, body: r.ok ? await r.json() : null};
    } catch {
      return {status: 0, body: null};
    }
  }

  // publish puts a message on the bus, in the packet of the vendor's general form.
  function publish(message) {
    window.parent.postMessage({
      channel: run.channel, topic: "", subTopic: "", message,
      ResponseUrl: location.origin, subscriberID: subscriber === null ? "" : subscriber,
    }, run.workspace);
  }

  // field reads a field of a packet; the vendor writes names in several ways.
  function field(packet, name) {
    for (const key of Object.keys(packet)) {
      if (key.toLowerCase() === name) return packet[key];
    }
    return undefined;
  }

  function isObject(x) {
    return typeof x === "object" && x !== null;
  }

  function isAnswer(packet) {
    const subtopic = isObject(packet) ? field(packet, "subtopic") : "";
    return typeof subtopic === "string" && subtopic.toLowerCase() === run.answer.toLowerCase();
  }

  // saysError tells an error message of the bus: a filled errorType or errorMessage anywhere.
  function saysError(packet, depth) {
    return depth > 0 && isObject(packet) && Object.keys(packet).some((key) => {
      const name = key.trim().toLowerCase(), value = packet[key];
      return ((name === "errortype" || name === "errormessage") && typeof value === "string" && value.trim() !== "") || saysError(value, depth - 1);
    });
  }

  function subscriberIn(packet) {
    const id = isObject(packet) ? field(packet, "subscriberid") : undefined;
    return (typeof id === "string" && id !== "") || typeof id === "number" ? String(id) : null;
  }

  window.addEventListener("message", (event) => {
    if (!run || event.origin !== run.workspace || event.source !== window.parent) return;
    let packet = event.data;
    if (typeof packet === "string") {
      try { packet = JSON.parse(packet); } catch { return; }
    }
    if (!isObject(packet)) return;
    const inner = field(packet, "message");
    if (subscriber === null) {
      const id = subscriberIn(packet) ?? subscriberIn(inner) ?? subscriberIn(field(packet, "data"));
      if (id !== null) {
        subscriber = id;
        wake();
      }
    }
    if (isAnswer(packet) || isAnswer(inner) || isAnswer(field(packet, "data")) || saysError(packet, 5)) call("answer", {message: packet});
  });

  // register tells the bus that we are here, until it gives us an id.
  async function register() {
    const session = run;
    while (run === session && subscriber === null) {
      publish({channel: run.channel, topic: run.register.topic, subtopic: run.register.subtopic, source: run.source, data: ""});
      await pause(3);
    }
  }

  async function take(number) {
    taking = number;
    const session = run;
    const got = await call("take", {n: number});
    if (got.status === 200 && run === session) publish(got.body.message);
    taking = 0;
    if (got.status !== 200) wake();
  }

  const words = {waiting: "waits", sent: "sent, no answer yet", answered: "raised", open: "no answer", kept: "kept for later"};

  function show(view) {
    byId("answered").textContent = view.answered;
    byId("open").textContent = view.open;
    byId("table").hidden = view.rows.length === 0;
    byId("rows").replaceChildren(...view.rows.slice().reverse().map((row) => {
      const tr = document.createElement("tr");
      for (const text of [row.n, row.shown, words[row.state] || row.state]) {
        tr.appendChild(document.createElement("td")).textContent = text;
      }
      return tr;
    }));
  }

  // session works until the run, or our place in it, is lost; it returns how long to wait
  // before the next try, or null where there is none.
  async function session() {
    const hello = await call("hello", {});
    switch (hello.status) {
    case 200: break;
    case 401: say("The code is used up, or not that of a run that is going on. The run names a file that has the next one."); return null;
    case 409: say("Another page is open. This one takes over when that is closed."); return 2;
    default: say("The run cannot be reached. Is it still going on?"); return 2;
    }
    run = hello.body;
    page = run.page;
    try { sessionStorage.setItem("expunge", JSON.stringify({code, page})); } catch { /* then it is not kept */ }
    subscriber = run.register.subtopic === "" ? "" : null;
    if (subscriber === null) register();
    let since = 0;
    for (;;) {
      say(subscriber === null ? "Waiting for the workspace to accept this app." : "Connected. Please leave this page open.");
      const cut = new AbortController();
      wake = () => cut.abort();
      const poll = await call("poll", {ready: subscriber !== null, since}, cut.signal);
      wake = () => {};
      if (cut.signal.aborted) continue;
      if (poll.status !== 200) return 1;
      const view = poll.body;
      since = view.version;
      show(view);
      if (view.over) {
        say("The run is over. You can close this page.");
        return null;
      }
      if (view.offer !== 0 && view.offer !== taking && subscriber !== null) take(view.offer);
    }
  }

  async function work() {
    byId("form").hidden = true;
    for (;;) {
      run = null;
      const wait = await session();
      if (wait === null) break;
      await pause(wait);
    }
    run = null;
    byId("form").hidden = false;
  }

  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    code = byId("code").value.trim().split("#").pop();
    byId("code").value = "";
    page = "";
    if (code !== "") work();
  });

  if (window.parent === window) {
    say("Open this page as an app inside the agent's workspace: here it reaches nobody.");
  } else if (code === "") {
    say("Enter the code to connect.");
    byId("form").hidden = false;
  } else {
    work();
  }
})();
