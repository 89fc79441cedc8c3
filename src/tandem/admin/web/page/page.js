// The page: shows what /live tells, finds leases, and has commands done, each asked about first.
"use strict";

const known = {status: null, trouble: "", problems: [], events: [], history: []};
const EVENTS_SHOWN = 200, HISTORY_S = 3600, STALE_MS = 3000;
let lastHeard = Date.now();

const at = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== "").map(printable));
  return made;
}

// Text of clients and partners may not reorder a line, nor hide a part of it: what cannot be seen is shown as its code.
function printable(text) {
  if (typeof text !== "string") return text;
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (found) => `\\u${found.codePointAt(0).toString(16).padStart(4, "0")}`);
}

const day = (seconds) => seconds === null || seconds === undefined ? "never" :
  new Date(seconds * 1000).toLocaleString("en-GB", {dateStyle: "medium", timeStyle: "medium"});

function span(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Number((seconds / size).toPrecision(3))} ${unit}`;
  }
  return `${Math.max(0, Math.round(seconds))} s`;
}

const amount = (number) => number < 1e9 ? number.toLocaleString("en") : number.toExponential(1);

// -- what is told

function listen() {
  const source = new EventSource("/live");
  source.onmessage = (message) => {
    const told = JSON.parse(message.data);
    lastHeard = Date.now();
    known.status = told.status;
    known.trouble = told.trouble;
    known.problems = told.problems;
    if (told.history) { known.history = told.history; known.events = []; }
    known.events = [...told.events.reverse(), ...known.events].slice(0, EVENTS_SHOWN);
    if (told.now) {
      const since = told.now.time - HISTORY_S;
      known.history = [...known.history.filter((each) => each.time > since && each.time < told.now.time), told.now];
    }
    show();
  };
}

function show() {
  showTrouble();
  const status = known.status;
  if (!status) return;
  document.title = `Tandem ${status.server}`;
  at("server").textContent = `Server ${status.server}`;
  at("facts").textContent = `tandem ${status.version}${status.compiled ? ", compiled" : ""}, up ${span(status["up-s"])}, ` +
    `${status["leases-known"].toLocaleString("en")} leases known`;
  showSummary();
  showRelationships(status.relationships);
  at("pools").replaceChildren(...status.links.flatMap((link) => link.pools.map((pool) => poolRow(link, pool))));
  at("plots").replaceChildren(...plots());
  at("counters").replaceChildren(...counters(status));
  at("events").replaceChildren(...known.events.map(eventRow));
}

function showTrouble() {
  const isLost = Date.now() - lastHeard > STALE_MS;
  const text = isLost ? "This page's own server, `tandem web`, does not answer; what is below is old." :
    known.trouble ? `${printable(known.trouble)} What is below is what it said last.` : "";
  if (at("trouble").textContent !== text) at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

function showSummary() {
  const problems = known.trouble ? [] : known.problems;
  const isWell = !known.trouble && !problems.length;
  const text = isWell ? "All is well." : JSON.stringify(problems.map((each) => ({...each, examples: []})));
  if (at("summary").dataset.text === text) return;  // told again, a screen reader would read it again
  at("summary").dataset.text = text;
  at("summary").replaceChildren(...(isWell ? [make("p", {class: "good"}, text)] : problems.map(problem)));
}

function problem(each) {
  const until = each.until === null ? "" : `at the latest at ${day(each.until)}, `;
  const text = `Since ${day(each.since)}. It ends ${until}when ${each["ends-when"]}.`;
  return make("div", {class: `problem ${each.severity === "critical" ? "bad" : "warn"}`, "data-id": each.id},
    make("p", {}, make("strong", {}, each.severity.toUpperCase()), ` ${each.what}`),
    make("p", {class: "soft"}, text, each.command ? " Command: " : "", each.command ? make("code", {}, each.command) : ""),
    ...each.examples.map((example) => make("p", {class: "soft"}, example)));
}

function showRelationships(all) {
  // What is told is shown anew each second; buttons stay, or one would be taken away from who is about to press it.
  const place = at("relationships");
  if (String(all.map((each) => each.name)) !== String([...place.children].map((each) => each.dataset.name))) {
    place.replaceChildren(...all.map(relationship));
  }
  for (const [number, found] of all.entries()) {
    const article = place.children[number];
    article.querySelector(".pair").replaceChildren(...partners(found));
    article.querySelector(".handover").hidden = Boolean(found["stepped-aside"]);
    article.querySelector(".resume").hidden = !found["stepped-aside"];
  }
}

const look = (state, isHeard) => state === "NORMAL" && isHeard ? "good" : "warn";

function relationship({name}) {
  const button = (text, command, kind) => make("button", {class: kind, onclick: () =>
    command(known.status.relationships.find((each) => each.name === name))}, text);
  return make("article", {"data-name": name}, make("h3", {}, `Relationship ${name}`), make("div", {class: "pair"}),
    make("div", {class: "row"}, button("Partner down …", partnerDown),
      button("Hand over …", handover, "handover"), button("Serve again …", resume, "resume")));
}

function partners(found) {
  const partner = found.partner;
  const mine = make("div", {class: "card"},
    make("h3", {}, `This server, ${known.status.server}, ${found.role}`),
    make("p", {}, make("span", {class: `state ${look(found.state, true)}`}, found.state), ` for ${span(known.status.time - found.since)}`),
    make("p", {}, found.means),
    make("p", {}, found.ends),
    found.until ? make("p", {}, `At the latest at ${day(found.until)}.`) : "",
    details([
      ["Why", found.why], ["Since", day(found.since)],
      ["Certificate", found.tls ? `${found["certificate-days-left"]} days left` : "none: the partners talk without TLS, as the file says"],
      ["MCLT", span(found.mclt)],
    ]));
  const theirs = make("div", {class: "card"},
    make("h3", {}, `Partner ${partner.name}, ${found.role === "primary" ? "secondary" : "primary"}`),
    make("p", {}, make("span", {class: `state ${partner["in-touch"] ? look(partner.state, true) : "bad"}`},
      partner["in-touch"] ? partner.state : "not heard"),
      partner["in-touch"] ? " and heard" : ` was in ${partner.state || "an unknown state"} when last heard, ${partner.heard ? day(partner.heard) : "never"}`),
    details([
      ["Since", partner.since ? day(partner.since) : "not known"],
      ["Clock", found["clock-skew"] === null ? "not known" : `${Math.abs(found["clock-skew"])} s ${found["clock-skew"] < 0 ? "behind" : "ahead"}`],
      ["Not acknowledged", `${found.updates.unacked.toLocaleString("en")} leases, ${found.updates["in-flight"]} of them under way`],
      ["Rejected", `${found.updates.rejections}`],
      ["Connection", found.connection || found["last-refusal"] || "none"],
    ]),
    ...found.differences.map((each) => make("p", {class: "warn"}, `Configured otherwise: ${each}`)),
    ...found.updates.rejected.map((each) => make("p", {class: "warn"}, `Rejected: ${each.lease}, ${each.why}`)),
    ...found.shares.map((each) => make("p", {class: "soft"}, `Free: ${amount(each.primary)} for the primary, ${amount(each.secondary)} for the secondary, in ${each.pool}`)));
  return [mine, theirs];
}

function details(rows) {
  return make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
}

function poolRow(link, pool) {
  const percent = pool.size ? 100 * pool["in-use"] / pool.size : 100;
  const points = known.history.map((each) => [each.time, each.in_use[pool.where] ?? null]);
  const most = Math.max(...points.map((point) => point[1] || 0));
  return make("tr", {class: percent >= 90 ? "bad" : null},
    make("td", {}, link.name), make("td", {}, pool.where), make("td", {}, pool.first), make("td", {}, pool.last),
    make("td", {class: "number"}, pool["in-use"].toLocaleString("en")),
    make("td", {class: "number"}, amount(pool.size)),
    make("td", {}, make("meter", {min: 0, max: 100, high: 90, value: percent, "aria-label": `${percent.toFixed(1)} % in use`}),
      ` ${percent.toFixed(1)} %`),
    make("td", {}, points.length > 1 ? spark(points, most, `In use in the last hour, at most ${most}`) : ""));
}

function plots() {
  const points = (value) => known.history.map((each) => [each.time, value(each)]);
  const ms = (value) => value === null ? null : value * 1000;
  return [
    plot("Answers and drops", "a second", [
      {name: "answers", look: "one", points: points((each) => each.answers_per_s)},
      {name: "drops", look: "two", points: points((each) => each.drops_per_s)},
    ]),
    plot("Replies, half within and 99 of 100 within", "ms", [
      {name: "half", look: "one", points: points((each) => ms(each.reply_median_s))},
      {name: "99 %", look: "two", points: points((each) => ms(each.reply_p99_s))},
    ]),
    ...Object.keys(known.status.relationships.length ? known.history.at(-1)?.unacked ?? {} : {}).map((name) =>
      plot(`Not acknowledged by the partner of ${name}`, "leases", [
        {name: "leases", look: "one", points: points((each) => each.unacked[name] ?? null)},
      ])),
  ];
}

function counters(status) {
  return Object.entries(status.counters).flatMap(([what, counts]) => Object.entries(counts).map(([about, count]) =>
    make("tr", {}, make("td", {}, what), make("td", {}, about), make("td", {class: "number"}, count.toLocaleString("en")))));
}

function eventRow(event) {
  const {number, time, level, event: name, ...values} = event;
  const words = Object.entries(values).map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return make("tr", {}, make("td", {}, day(time)), make("td", {class: level === "error" ? "bad" : level === "warning" ? "warn" : null}, level),
    make("td", {}, name), make("td", {}, words.join("; ")));
}

// -- the API

async function api(method, path, body) {
  for (;;) {
    const headers = {authorization: `Bearer ${sessionStorage.getItem("token") || ""}`};
    if (body) headers["content-type"] = "application/json";
    const answer = await fetch(`/api/v1/${path}`, {method, headers, body: body ? JSON.stringify(body) : undefined});
    const result = await answer.json();
    if (answer.ok) return result;
    if (answer.status !== 401 && answer.status !== 403) throw new Error(result.error);
    if (!await askForToken(sessionStorage.getItem("token") || answer.status === 403 ? result.error : "")) throw new Error("Nothing was done: no token was given.");
  }
}

function answered(dialog) {
  // By the press itself: the event of a dialog that was closed comes later, and may come when it is open again.
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.querySelector("form").onsubmit = (event) => resolve(event.submitter.value === "yes");
    dialog.oncancel = () => resolve(false);
  });
}

async function askForToken(why) {
  at("token-why").textContent = printable(why);
  at("token-text").value = "";
  if (!await answered(at("token"))) return false;
  sessionStorage.setItem("token", at("token-text").value.trim());
  return true;
}

function confirmed(title, yes, ...paragraphs) {
  at("ask-title").textContent = printable(title);
  at("ask-text").replaceChildren(...paragraphs.filter(Boolean).map((text) => make("p", {}, text)));
  at("ask-yes").textContent = yes;
  return answered(at("ask"));
}

async function attempt(title, act) {
  try {
    await act();
  } catch (error) {
    await confirmed(title, "OK", error.message);
  }
}

// -- commands

const partnerDown = (found) => attempt("Partner down", async () => {
  const path = `relationships/${encodeURIComponent(found.name)}/partner-down`;
  const risk = await api("POST", path, {"dry-run": true});
  const go = await confirmed(`Is ${found.partner.name} down, and will it stay so for now?`, "It is down",
    risk["in-touch"] ? "The partner is connected right now! It is not down; consider to hand over." : "",
    `${risk["leases-at-risk"]} leases are in use in its pools. ${risk.risk}`,
    `The partner was last heard ${day(risk["partner-heard"])}. Its free prefixes can be given out from ${day(risk["waits-until"])}.`);
  if (go) await api("POST", path, {});
});

const handover = (found) => attempt("Hand over", async () => {
  const go = await confirmed(`Let ${found.partner.name} serve alone?`, "Hand over",
    "The partner answers all clients, and this server none until you have it serve again or start it anew.");
  if (go) await api("POST", `relationships/${encodeURIComponent(found.name)}/handover`, {});
});

const resume = (found) => attempt("Serve again", async () => {
  const go = await confirmed("Have this server serve again?", "Serve again", "It looks for its partner first.");
  if (go) await api("POST", `relationships/${encodeURIComponent(found.name)}/resume`, {});
});

const release = (lease) => attempt("End a lease", async () => {
  const go = await confirmed(`End the lease of ${lease}?`, "End it", "Its client is not told, and may still use it.");
  if (!go) return;
  await api("POST", `release/${encodeURIComponent(lease)}`, {});
  await find(at("wanted").value.trim());
});

// -- finding

const FOUND_MAX = 50;

async function listed(filter, wanted) {
  const leases = [], path = `leases?${filter}=${encodeURIComponent(wanted)}`;
  let next = null;
  do {
    const page = await api("GET", path + (next === null ? "" : `&from=${next}`));
    leases.push(...page.leases);
    next = page.next;
  } while (next !== null && leases.length < FOUND_MAX);
  return leases.slice(0, FOUND_MAX);
}

async function find(wanted) {
  at("found").replaceChildren(make("p", {class: "soft"}, "Looking …"));
  const isAddress = wanted.includes("::") || wanted.includes("/") || (wanted.split(":").length === 8 && wanted.split(":").some((part) => part.length > 2));
  let leases = await listed(isAddress ? "within" : "duid", wanted);
  if (!isAddress && !leases.length) leases = await listed("client", wanted);
  const duids = [...new Set(leases.map((lease) => lease.duid))];
  const isOneClient = duids.length === 1 && duids[0];
  const query = isOneClient ? `explain?duid=${encodeURIComponent(duids[0])}` : isAddress ? `explain?lease=${encodeURIComponent(wanted)}` : "";
  const why = query ? await api("GET", query) : null;
  at("found").replaceChildren(
    make("p", {}, leases.length === 0 ? "No lease is on record." :
      leases.length === FOUND_MAX ? `The first ${FOUND_MAX}; say more of the address or the DUID.` : `${leases.length} on record.`),
    leases.length ? leaseTable(leases) : "", why ? explanation(why) : "");
}

function leaseTable(leases) {
  const head = ["Lease", "Status", "DUID", "IAID", "Last heard", "Until", "Name", ""];
  return make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Leases found"}, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((text) => text ? make("th", {scope: "col"}, text) : make("td", {})))),
    make("tbody", {}, ...leases.map((lease) => make("tr", {},
      make("td", {}, lease.lease), make("td", {}, lease.status), make("td", {}, lease.duid), make("td", {class: "number"}, String(lease.iaid)),
      make("td", {}, day(lease["client-last-transaction-time"])), make("td", {}, day(lease["state-expiration-time"])),
      make("td", {}, lease.fqdn || ""),
      make("td", {}, lease.held ? make("button", {class: "danger", onclick: () => release(lease.lease), "aria-label": `End the lease of ${lease.lease}`}, "End …") : ""))))));
}

function explanation(why) {
  return make("div", {class: "card"}, make("h3", {}, "Explained"),
    why.where ? make("p", {}, why.where) : "",
    ...(why.links || []).flatMap((link) => [make("p", {}, make("strong", {}, `On ${link.link}`)),
      make("ol", {}, ...link.steps.map((step) => make("li", {}, step)))]));
}

at("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await find(at("wanted").value.trim());
  } catch (error) {
    at("found").replaceChildren(make("p", {class: "bad"}, error.message));
  }
});

setInterval(showTrouble, 1000);
listen();
