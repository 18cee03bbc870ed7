// Follows /api/events and shows it. Everything on the page has a fixed number of elements: nothing grows with time.
const SECONDS = 120; // what a sparkline shows
const RATE = 3; // seconds that a rate is the mean of
const DOTS = 8; // on one line at a time; more orders than that are shown as a flow
const SILENCE = 12000; // ms without a word from statistics, which says something every 5 s: the connection is dead
const BACK = 20000; // ms for which the page says that somebody is back
const NAMES = { 陕北: "Shaanbei", 关中: "Guanzhong", 陕南: "Shaannan" };

const $ = (selector, root = document) => root.querySelector(selector);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const grouped = new Intl.NumberFormat("en");
const number = (value) => grouped.format(value);
const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

let figures; // the last event
let history; // counts of the last seconds, by region, and which second the last one is
let gateway = "http://127.0.0.1:8080";
let ahead = 0; // ms by which the clock of statistics is ahead of this one
let source, heard = 0, lostSince = 0, drawn = 0, listed = 0, later = 0;
const seen = new Map(); // what was said last of each service
let back = []; // who came back lately
let news = [];

const now = () => Date.now() + ahead;

// Elements, made once. -------------------------------------------------------------------------------------------------

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function drawing(className, viewBox, content) {
  const template = document.createElement("template");
  template.innerHTML = `<svg class="${className}" viewBox="${viewBox}" preserveAspectRatio="none">${content}</svg>`;
  return template.content.firstChild;
}

const sign = () => drawing("sign", "0 0 16 16",
  '<circle cx="8" cy="8" r="7"/><path class="yes" d="M4.8 8.3l2.2 2.2 4.2-4.6"/>' +
  '<g class="no"><rect x="1" y="1" width="14" height="14" rx="3"/><path d="M5 5l6 6M11 5l-6 6"/></g>');

// Sets what has changed only.
function text(element, value) {
  if (element.shown !== value) element.textContent = element.shown = value;
}
function mark(element, name, on) {
  if (element.classList.contains(name) !== on) element.classList.toggle(name, on);
}

function station(name, className) {
  const element = make("div", className, sign(), make("b", "", name), make("small"));
  return { element, note: element.lastChild, name };
}

function link(className) {
  const element = make("div", `link ${className}`);
  const dots = Array.from({ length: DOTS }, () => element.appendChild(make("i")));
  return { element, dots, next: 0, busy: 0 };
}

function log(className) {
  const spark = drawing("", `0 0 ${SECONDS - 2} 24`, "<path/><path/>");
  const element = make("div", `log ${className}`, make("b"), make("span", "rate"), spark, make("small"));
  return { element, count: element.children[0], rate: element.children[1], area: spark.children[0], line: spark.children[1], note: element.lastChild };
}

let rows = [], ends = {};
function build(regions) {
  const picture = $("#picture");
  picture.replaceChildren();
  picture.style.setProperty("--regions", regions.length);
  mark(picture, "many", regions.length > 5);
  const last = regions.length + 2;
  const place = (element, column, row) => {
    element.style.gridColumn = column;
    element.style.gridRow = row;
    return element;
  };
  for (const column of [6, 10]) picture.append(place(make("div", "band"), column, `1 / ${last}`));
  const labels = { 1: "orders in", "3 / 5": "takes its region’s orders", 6: "topic order", 7: "waiting", 8: "ships them once", 10: "topic shipment", 12: "counts all" };
  for (const column in labels) picture.append(place(make("div", "label", labels[column]), column, 1));
  const end = (name) => {
    const one = station(name, "end");
    one.rate = make("span", "rate");
    one.element.insertBefore(one.rate, one.note);
    return one;
  };
  ends = { gateway: end("gateway"), kafka: station("Kafka", "kafka"), statistics: end("statistics") };
  picture.append(ends.gateway.element);
  rows = regions.map((region, index) => {
    const n = region.partition;
    const row = {
      n, zh: region.region, en: NAMES[region.region] ?? "",
      enter: link("in"), order: station(`order-${n}`, "station"), a: link("a"), accepted: log("o"),
      repository: station(`repository-${n}`, "station"), b: link("b"), shipped: log("s"), out: link("out"),
      bar: make("i"), waiting: make("b"),
    };
    row.queue = make("div", "queue", row.waiting, make("div", "bar", row.bar), make("small", "", "waiting"));
    const name = make("b", "", row.zh);
    name.lang = "zh";
    const title = make("div", "region", name, ...(row.en ? [make("small", "", row.en)] : []), make("small", "", `partition ${n}`));
    const parts = [row.enter, title, row.order, row.a, row.accepted, row.queue, row.repository, row.b, row.shipped, row.out];
    row.element = make("div", "row", ...parts.map((part) => part.element ?? part));
    row.element.style.gridRow = "";
    row.element.dataset.row = index;
    picture.append(row.element);
    return row;
  });
  picture.append(ends.kafka.element, ends.statistics.element);
  placeRows();
  const table = $("#table tbody");
  table.replaceChildren(...rows.map((row) => {
    const head = make("th", "", label(row));
    head.scope = "row";
    return make("tr", "", head, ...Array.from({ length: 9 }, () => make("td")));
  }));
  $("#region").replaceChildren(...rows.map((row) => new Option(label(row), row.n)));
  commands();
}

// In a grid the rows have their places; one below the other they need none.
const narrow = matchMedia("(max-width: 66rem)");
function placeRows() {
  rows.forEach((row, index) => (row.element.style.gridRow = narrow.matches ? "" : index + 2));
  for (const [name, column] of [["gateway", 1], ["statistics", 12]]) {
    if (ends[name]) ends[name].element.style.gridColumn = narrow.matches ? "" : column;
  }
  if (ends.kafka) ends.kafka.element.style.gridRow = narrow.matches ? "" : rows.length + 2;
}
narrow.addEventListener("change", placeRows);

const label = (row) => (row.en ? `${row.zh} ${row.en}` : row.zh);

// The stream. ----------------------------------------------------------------------------------------------------------

// A browser has six connections to a host: a page that nobody sees gives its own back.
function connect() {
  source?.close();
  source = undefined;
  if (document.hidden) return;
  heard = Date.now();
  const stream = (source = new EventSource("/api/events"));
  let first = true;
  stream.addEventListener("start", (event) => {
    const start = JSON.parse(event.data);
    ahead = Date.parse(start.time) - Date.now();
    gateway = start.gateway;
    history = { ...start.history, second: Math.floor(now() / 1000) };
    first = true;
  });
  stream.onmessage = (event) => {
    if (stream !== source) return;
    heard = Date.now();
    const next = JSON.parse(event.data);
    // One that has just started knows no regions yet: what is shown is from before, and still says so.
    if (figures && !next.regions.length) return;
    lostSince = 0;
    receive(next, first);
    first = false;
  };
  stream.onerror = () => {
    if (stream !== source) return;
    lost();
    // Refused, for instance because too many follow: then the browser does not try again by itself.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => stream === source && connect(), 2000);
  };
}
function lost() {
  if (!lostSince) lostSince = Date.now();
  draw();
}
document.addEventListener("visibilitychange", connect);

function receive(next, first) {
  const previous = figures;
  figures = next;
  const fresh = !previous || previous.regions.length !== next.regions.length;
  if (fresh) {
    build(next.regions);
    for (const counts of [history.accepted, history.shipped]) {
      while (counts.length < next.regions.length) counts.push(Array(SECONDS).fill(0));
    }
  }
  turn();
  // What a region catches up with was ordered before: it is no rate of now. The seconds are asked for when it is done.
  const done = (region, index) => previous?.regions[index]?.problem && !region.problem;
  if (!first && next.regions.some(done)) return connect();
  next.regions.forEach((region, index) => {
    if (first || fresh || region.problem) return;
    const before = previous.regions[index];
    const delta = (key) => Math.max(0, region[key] - before[key]);
    const [accepted, shipped] = [delta("orders"), delta("shipped")];
    add(history.accepted, index, accepted);
    add(history.shipped, index, shipped);
    move(rows[index].enter, accepted, 0);
    move(rows[index].a, accepted, 300);
    move(rows[index].b, shipped, 200);
    move(rows[index].out, shipped, 500);
  });
  for (const service of next.services) watch(service);
  draw();
}

// What happens to a service, for "Lately".
function watch(service) {
  const before = seen.get(service.name);
  seen.set(service.name, { ready: service.ready, since: Date.parse(service.since) });
  if (service.ready === null || before?.ready === service.ready) return;
  if (service.ready === false) tell(service.name, "away", Date.parse(service.since), short(service.reason));
  else if (before?.ready === false) {
    const away = Math.max(1, Math.round((Date.parse(service.since) - before.since) / 1000));
    back = back.filter((one) => one.name !== service.name).concat({ name: service.name, away, at: now() });
    tell(service.name, "back", Date.parse(service.since), `after ${duration(away)}`);
  }
}
function tell(name, what, at, why) {
  news = [{ name, what, at, why }, ...news].slice(0, 8);
  $("#news").replaceChildren(...news.map((one) => {
    const time = make("time", "", clock(one.at));
    return make("li", one.what, time, `${one.name} ${one.what === "away" ? "went away" : "is back"} `, make("small", "", one.why ?? ""));
  }));
}
const duration = (s) => (s < 120 ? `${s} s` : s < 7200 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`);

// Seconds. -------------------------------------------------------------------------------------------------------------

function turn() {
  const second = Math.floor(now() / 1000);
  const passed = Math.min(SECONDS, second - history.second);
  if (passed <= 0) return;
  for (const counts of [...history.accepted, ...history.shipped]) {
    counts.splice(0, passed);
    counts.push(...Array(passed).fill(0));
  }
  history.second = second;
}
function add(all, index, count) {
  if (all[index]) all[index][SECONDS - 1] += count;
}
// The current second is not over: the mean is that of those before it.
function rate(counts) {
  return counts.slice(-1 - RATE, -1).reduce((a, b) => a + b, 0) / RATE;
}
const perSecond = (value) => `${number(value >= 10 ? Math.round(value) : Math.round(value * 10) / 10)}/s`;

// Each point is the mean of a few seconds, as the rate is: orders come one by one, and a line of single seconds is noise.
function smooth(counts) {
  const mean = (_, x) => (counts[x] + (counts[x - 1] ?? counts[x]) + (counts[x - 2] ?? counts[x])) / 3;
  return counts.slice(0, -1).map(mean);
}
function path(points, highest) {
  return points.map((y, x) => `${x ? "L" : "M"}${x} ${(23 - (22 * y) / highest).toFixed(1)}`).join("");
}

// What moves. ----------------------------------------------------------------------------------------------------------

function move(way, count, delay) {
  way.recent = (way.recent ?? 0) * 0.5 + count; // of about the last half second
  const flows = way.recent > DOTS;
  mark(way.element, "flow", flows);
  if (!count || flows || still.matches || document.hidden) return;
  const length = way.element.clientWidth;
  for (let i = 0; i < Math.min(count, DOTS); i++) {
    const dot = way.dots[way.next++ % DOTS];
    const step = [{ transform: "translateX(-.6rem)", opacity: 1 }, { transform: `translateX(${length}px)`, opacity: 1 }];
    dot.animate(step, { duration: 420, delay: delay + (i * 240) / count, easing: "linear" });
  }
}

// What is shown. -------------------------------------------------------------------------------------------------------

function draw() {
  if (!drawn) drawn = requestAnimationFrame(() => { drawn = 0; show(); });
}

function show() {
  const picture = $("#picture");
  mark(picture, "stale", lostSince > 0);
  const services = new Map((figures?.services ?? []).map((service) => [service.name, service]));
  headline(services);
  if (!figures || !history) return;
  turn();
  const lines = [history.accepted.map(smooth), history.shipped.map(smooth)];
  const highest = Math.max(1, ...lines.flat(2));
  let all = 0;
  figures.regions.forEach((region, index) => {
    const row = rows[index];
    const [accepted, shipped] = [history.accepted[index] ?? [], history.shipped[index] ?? []];
    const rates = [rate(accepted), rate(shipped)];
    all += rates[0];
    const away = [condition(row.order, services), condition(row.repository, services)];
    mark(row.element, "away", away.includes(false) || troubled(region));
    row.element.title = region.problem ?? "";
    for (const way of [row.enter, row.a]) mark(way.element, "shut", away[0] === false);
    mark(row.b.element, "shut", away[1] === false);
    count(row.accepted, region.orders, rates[0], lines[0][index] ?? [], highest);
    count(row.shipped, region.shipped, rates[1], lines[1][index] ?? [], highest);
    const last = region.last_order?.order_id;
    text(row.accepted.note, last ? `last …${last.slice(-8)}` : "no order yet");
    row.accepted.note.title = last ?? "";
    text(row.shipped.note, `${plural(region.duplicates, "duplicate", "duplicates")}, ${number(region.rejected)} rejected`);
    text(row.waiting, number(region.waiting));
    mark(row.queue, "some", region.waiting > 0);
    // Two fifths of the bar are a hundred, all of it are a million: both can be seen to grow.
    row.bar.style.transform = `scaleX(${Math.min(1, Math.log10(1 + region.waiting) / 5)})`;
    for (const way of ["enter", "a", "b", "out"]) {
      const idle = rates[way === "enter" || way === "a" ? 0 : 1] < DOTS;
      if (idle && row[way].element.classList.contains("flow") && !still.matches) mark(row[way].element, "flow", false);
    }
    const cells = $("#table tbody").rows[index].cells;
    const state = (name) => said(services.get(name)) || "not looked at";
    [state(row.order.name), number(region.orders), perSecond(rates[0]), number(region.waiting), state(row.repository.name),
      number(region.shipped), perSecond(rates[1]), number(region.duplicates), number(region.rejected)]
      .forEach((value, cell) => text(cells[cell + 1], value));
  });
  condition(ends.gateway, services);
  mark(picture, "dark", condition({ ...ends.kafka, name: "kafka" }, services) === false);
  mark(ends.statistics.element, "ready", !lostSince);
  mark(ends.statistics.element, "gone", lostSince > 0);
  text(ends.statistics.note, lostSince ? "out of reach" : "ready");
  text(ends.gateway.rate, perSecond(all));
  const { total } = figures;
  const aside = total.duplicates + total.rejected;
  const sums = { accepted: total.shipped + total.waiting + aside, shipped: total.shipped, waiting: total.waiting, aside, lost: total.lost, twice: total.shipped_twice };
  for (const name in sums) {
    text($(`#sums .${name} dd`), sums[name] === null ? "?" : number(sums[name]));
  }
  $("#sums .aside").hidden = aside === 0;
  mark($("#sums .waiting"), "some", total.waiting > 0);
  mark($("#sums .lost"), "wrong", total.lost > 0);
  mark($("#sums .twice"), "wrong", total.shipped_twice > 0);
  // A list that changes while somebody reads it or points at it cannot be read.
  const orders = $("#orders");
  const paused = orders.matches(":hover") || orders.contains(document.activeElement);
  $("#paused").hidden = !paused;
  if (paused) return;
  const wait = listed + 500 - Date.now();
  if (wait <= 0) {
    listed = Date.now();
    list(figures.recent);
  } else if (!later) later = setTimeout(() => { later = 0; draw(); }, wait);
}

function count(part, total, perSec, points, highest) {
  text(part.count, number(total));
  text(part.rate, perSecond(perSec));
  const line = path(points, highest);
  if (part.drawn !== line) {
    part.drawn = line;
    part.line.setAttribute("d", line);
    part.area.setAttribute("d", line && `${line}V24H0Z`);
  }
}

// Whether a service is ready: true, false, or null where nobody knows.
function condition(part, services) {
  const service = services.get(part.name);
  const ready = service ? service.ready : null;
  mark(part.element, "ready", ready === true);
  mark(part.element, "gone", ready === false);
  text(part.note, said(service));
  part.element.title = ready === false ? service.reason : "";
  return ready;
}
function said(service) {
  if (!service) return "";
  if (service.ready === null) return "looking …";
  if (service.ready) return service.name === "kafka" ? "answers" : "ready";
  return `away ${duration(Math.max(0, Math.round((now() - Date.parse(service.since)) / 1000)))} · ${short(service.reason)}`;
}
// "failed to lookup address information: Name or service not known" is a name that nobody has now.
function short(reason = "") {
  if (/lookup|not known|resolution/i.test(reason)) return "its name is gone";
  if (/refused/i.test(reason)) return "connection refused";
  return reason.replace(/^kafka is out of reach: /, "").slice(0, 90);
}

// A region that statistics cannot count at the moment. The first words are those of a start, and no trouble.
const troubled = (region) => Boolean(region.problem) && region.problem !== "reading the log";

// How it is, in a sentence, and what that means.
function headline(services) {
  const [state, title, meaning, remedy] = situation(services);
  $("#state").dataset.state = state;
  text($("#headline"), title);
  text($("#meaning"), meaning);
  const command = $("#remedy");
  command.hidden = !remedy;
  if (remedy) text($("code", command), remedy);
  const name = state === "well" ? "mall" : `${title} · mall`;
  if (document.title !== name) document.title = name;
}

function situation(services) {
  if (lostSince) return ["lost", "Statistics is out of reach.", `This page shows how it was at ${clock(lostSince)}, and tries again every second. It says nothing about the rest of the mall.`];
  if (!rows.length) return ["well", "Statistics is reading the log …", ""];
  const { total, regions } = figures;
  const kept = total.lost === 0 ? " Nothing is lost." : "";
  if (total.lost > 0) return ["away", `${plural(total.lost, "order was", "orders were")} lost.`, "Topic shipment has no outcome for them though it has some for later ones. That should be impossible: was a topic truncated, or MALL_REPOSITORY__ON_LOST_POSITION set to latest?"];
  if (total.shipped_twice > 0) return ["away", `${plural(total.shipped_twice, "order has", "orders have")} two outcomes.`, "That should be impossible: did somebody write to topic shipment?"];
  const away = [...services.values()].filter((service) => service.ready === false).map((service) => service.name);
  const revive = (name) => ({ compose: `just revive ${name}`, cluster: `kubectl -n kafka-demo get pods -w` })[place.value];
  if (away.includes("kafka")) return ["away", "Kafka is away.", `No order is accepted: clients get a 503 or a 504. What was accepted is in its log, and goes on when it is back.${kept}`, revive("kafka")];
  if (away.length) {
    const names = away.length > 3 ? `${away.length} services are` : away.length > 1 ? `${away.slice(0, -1).join(", ")} and ${away.at(-1)} are` : `${away[0]} is`;
    const of = (kind) => rows.filter((row) => away.includes(`${kind}-${row.n}`));
    const list = (some) => (some.length > 3 ? `${some.length} regions` : some.map(label).join(", "));
    const [closed, waits] = [of("order"), of("repository")];
    const sentences = [];
    if (away.includes("gateway")) sentences.push("No order comes in. What was accepted before is shipped as usual.");
    if (closed.length) sentences.push(`${list(closed)} ${closed.length > 1 ? "take" : "takes"} no orders: whoever orders there is told at once that nothing was written.`);
    if (waits.length) {
      const waiting = waits.reduce((sum, row) => sum + (regions.find((region) => region.partition === row.n)?.waiting ?? 0), 0);
      sentences.push(`Orders of ${list(waits)} are accepted, and wait in Kafka until it is back: ${number(waiting)} now.`);
    }
    if (closed.length + waits.length > 0 && closed.length < rows.length && waits.length < rows.length) sentences.push("The other regions go on.");
    return ["away", `${names} away.`, sentences.join(" ") + kept, revive(away[0])];
  }
  const blind = rows.filter((_, index) => troubled(regions[index]));
  if (blind.length) {
    const problem = regions[rows.indexOf(blind[0])].problem;
    return ["away", `Statistics cannot count ${blind.length > 3 ? `${blind.length} regions` : blind.map(label).join(", ")}.`, `Their figures are from before; orders are taken and shipped as usual, and the other regions are counted. It tries again every second: ${problem}`];
  }
  if (regions.some((region) => region.problem)) return ["well", "Statistics is reading the log …", ""];
  back = back.filter((one) => now() - one.at < BACK);
  if (back.length) {
    const one = back.at(-1);
    const rest = total.waiting > 0 ? `What waited is being shipped, ${number(total.waiting)} to go.` : "";
    const proof = total.lost === 0 && total.shipped_twice === 0 ? "Nothing was lost, and nothing was shipped twice." : "";
    return ["well", `${one.name} is back after ${duration(one.away)}.`, `${rest} ${proof}`.trim()];
  }
  const order = `curl -d partition=1 ${gateway}/submit-order`;
  if (total.orders + total.waiting === 0) return ["well", "The mall is open. Nobody has ordered yet.", "Order something from a terminal, and watch it go from left to right:", rows.length > 1 ? order : order.replace("=1", "=0")];
  if (total.waiting > 0) return ["well", "All is well.", `${plural(total.waiting, "order waits", "orders wait")} to be shipped; every other one was shipped once.${kept}`];
  return ["well", "All is well.", `Every order that was accepted has been shipped, once.${kept}`];
}

// The last orders. -----------------------------------------------------------------------------------------------------

function list(recent) {
  const body = $("#orders tbody");
  if (!recent.length) return;
  if (body.rows[0]?.className === "none") body.replaceChildren();
  while (body.rows.length < recent.length) {
    const button = make("button", "");
    button.type = "button";
    button.addEventListener("click", () => find(button.value));
    const way = make("div", "way", make("span"), make("i"));
    body.append(make("tr", "", make("td", "", button), make("td"), make("td"), make("td", "", way)));
  }
  while (body.rows.length > recent.length) body.deleteRow(-1);
  const longest = Math.log10(1 + Math.max(100, ...recent.map((order) => took(order) ?? 0)));
  recent.forEach((order, index) => {
    const [id, region, at, way] = body.rows[index].cells;
    id.firstChild.value = order.order_id;
    text(id.firstChild, order.order_id);
    const row = rows.find((one) => one.n === order.partition);
    text(region, row ? label(row) : `partition ${order.partition}`);
    text(at, clock(order.accepted));
    const ms = took(order);
    text(way.firstChild.firstChild, order.outcome === null ? "waits" : ms === null ? order.outcome : milliseconds(ms));
    way.firstChild.className = `way ${order.outcome === null ? "waits" : ms === null ? "other" : ""}`;
    const part = order.outcome === null ? 1 : Math.log10(1 + (ms ?? 0)) / longest;
    way.firstChild.lastChild.style.transform = `scaleX(${Math.max(0.01, part)})`;
  });
}
const took = (order) => (order.shipped ? Math.max(0, Date.parse(order.shipped) - Date.parse(order.accepted)) : null);
const milliseconds = (ms) => (ms < 10000 ? `${number(ms)} ms` : `${number(Math.round(ms / 1000))} s`);

// One order. -----------------------------------------------------------------------------------------------------------

let asked = 0;
async function find(id) {
  $("#id").value = id;
  const question = ++asked;
  const box = $("#journey");
  // What waits is asked for again, as long as somebody may be waiting for it.
  for (let again = 0; again < 60 && question === asked; again++) {
    let status = 0, answer;
    try {
      const response = await fetch(`/orders/${encodeURIComponent(id)}`);
      status = response.status;
      answer = await response.json();
    } catch {
      answer = { detail: "Statistics does not answer." };
    }
    if (question !== asked) return;
    if (status !== 200) {
      box.replaceChildren(make("p", "", answer.detail ?? `status ${status}`));
      return;
    }
    journey(box, id, answer);
    if (answer.shipment) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
function journey(box, id, { order, accepted, shipment, duplicates }) {
  const exact = (time) => `${clock(time)}.${String(Date.parse(time) % 1000).padStart(3, "0")}`;
  const since = (time) => `+${milliseconds(Math.max(0, Date.parse(time) - Date.parse(accepted.time)))}`;
  const step = (kind, ...cells) => make("li", kind, ...cells.map((cell, index) => make(index < 2 ? "span" : "small", "", cell)));
  const steps = [step("", "accepted", exact(accepted.time), `${accepted.service} wrote it to order[${accepted.partition}] at offset ${number(accepted.offset)}`)];
  if (!shipment) steps.push(step("w", "waits", "", `for repository-${accepted.partition}`));
  else {
    if (shipment.packed) steps.push(step("s", "packed", since(shipment.packed), `by ${shipment.service}`));
    steps.push(step("s", shipment.outcome, shipment.time ? since(shipment.time) : "", `${shipment.service} wrote it to shipment[${accepted.partition}] at offset ${number(shipment.offset)}${shipment.detail ? `: ${shipment.detail}` : ""}`));
  }
  const more = duplicates?.length ? `, and ${plural(duplicates.length, "duplicate", "duplicates")} of it` : "";
  box.replaceChildren(make("p", "", `Order ${id} of ${accepted.region}: money ${number(order.money)}, user ${order.user_id}${more}`), make("ol", "", ...steps));
}
$("#find").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = $("#id").value.trim();
  if (id) find(id);
});

// What to type. --------------------------------------------------------------------------------------------------------

const place = $("#place");
function commands() {
  const n = $("#region").value;
  const order = ["Order something there", `curl -d partition=${n} ${gateway}/submit-order`];
  const id = "ORDER_ID";
  const all = {
    compose: [order, ["Its order service dies: orders are refused, at once", `just kill order-${n}`], ["… and comes back", `just revive order-${n}`],
      ["Its repository dies: orders wait", `just kill repository-${n}`], ["… and are shipped", `just revive repository-${n}`],
      ["What the log says of an order", `docker compose logs order-${n} | grep ${id}`]],
    cluster: [["Reach the gateway from here", `kubectl -n kafka-demo port-forward service/gateway ${new URL(gateway).port || 80}:80`], order,
      ["Its order service dies, and comes back by itself", `kubectl -n kafka-demo delete pod order-${n} --grace-period=0 --force`],
      ["Its repository dies", `kubectl -n kafka-demo delete pod repository-${n} --grace-period=0 --force`],
      ["What the log says of an order", `kubectl -n kafka-demo logs order-${n} | grep ${id}`]],
    process: [order, ["What became of an order", `cargo run -- order --gateway ${gateway} ${id}`]],
  }[place.value];
  $("#commands").replaceChildren(...all.map(([what, command]) => {
    const button = make("button", "copy", "copy");
    button.type = "button";
    button.setAttribute("aria-label", `copy: ${what}`);
    return make("div", "", make("dt", "", what), make("dd", "", make("code", "", command), button));
  }));
}
$("#region").addEventListener("change", commands);
place.addEventListener("change", () => {
  try { localStorage.place = place.value; } catch { /* not kept, then */ }
  commands();
  draw();
});
document.addEventListener("click", async ({ target }) => {
  if (!target.matches(".copy")) return;
  const code = $("code", target.parentElement);
  try {
    await navigator.clipboard.writeText(code.textContent);
    target.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(code);
    target.textContent = "selected";
  }
  setTimeout(() => (target.textContent = "copy"), 1500);
});

try { place.value = localStorage.place ?? "compose"; } catch { /* as it is */ }
if (!place.value) place.value = "compose";
connect();
setInterval(() => {
  if (document.hidden) return;
  if (Date.now() - heard > SILENCE) {
    lost();
    connect();
  }
  draw();
}, 1000);
