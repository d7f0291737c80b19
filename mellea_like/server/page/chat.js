// The page's program: it sends the conversation to /v1/runs and shows the run's events as they come.

const $ = (id) => document.getElementById(id);
const turns = []; // what is sent: {role, content}
let current = null; // the answer that is growing
let talk = 0; // which conversation it is: an answer of an earlier one is not sent again
let graph = null;

// --- the server -----------------------------------------------------------------------------------------------------

function headers(more = {}) {
  const key = $("key").value.trim();
  return key ? { Authorization: `Bearer ${key}`, ...more } : more;
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.ok) return response;
  if (response.status === 401) {
    $("keyline").hidden = false;
    $("key").focus();
  }
  const said = await response.json().catch(() => ({}));
  throw new Error(said.error?.message ?? `The server answered ${response.status}.`);
}

// Server-sent events out of a fetch: EventSource can neither post nor bear a key.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const lines = frame.split("\n");
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}

const ENDS = new Set(["finished", "failed", "cancelled", "execution_complete", "execution_error", "execution_cancelled", "error"]);

// All events of a run; a stream that breaks off is taken up again after its last event.
async function* runEvents(answer) {
  let response = await ask("/v1/runs", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ messages: turns, stream: true }),
  });
  answer.run = response.headers.get("X-Run-Id");
  let last = -1;
  for (let tries = 0; tries < 5; tries++) {
    try {
      for await (const event of events(response)) {
        last = event.seq ?? last;
        tries = 0;
        yield event;
        if (ENDS.has(event.type)) return;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // anything but a broken connection
    }
    $("status").textContent = "Connecting again …";
    await new Promise((resume) => setTimeout(resume, 300 * 2 ** tries));
    response = await ask(`/v1/runs/${answer.run}/events`, { headers: last < 0 ? {} : { "Last-Event-ID": String(last) } });
  }
  throw new Error("The connection broke off.");
}

// --- an answer ------------------------------------------------------------------------------------------------------

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function addTurn(role, text) {
  const item = element("li", role);
  item.append(element("p", "who", role === "user" ? "You" : "Answer"), element("p", "text", text));
  $("turns").append(item);
  $("empty").hidden = true;
  $("turns").parentElement.scrollTop = $("turns").parentElement.scrollHeight;
  return item;
}

// Who reads at the end stays there; who has scrolled up is left alone.
function following(change) {
  const pane = $("turns").parentElement;
  const atEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 60;
  change();
  if (atEnd) pane.scrollTop = pane.scrollHeight;
}

// The node that says something, with the subgraphs that it is in; empty for a model alone.
const placeOf = (event) => [...(event.ns ?? []), event.node_id ?? ""].join("/");
const isIn = (place, node) => `${place}/`.startsWith(`${node}/`);
const generationOf = (event) => `${placeOf(event)} ${event.thunk_id ?? ""}`;

class Answer {
  constructor() {
    this.run = null;
    this.item = addTurn("assistant", "");
    this.textLine = this.item.querySelector(".text");
    this.sayings = []; // {generation, attempt, place, seq, line}; the attempt is null once a graph's is decided
    this.given = []; // those of attempts that were given up
    this.attempts = new Map();
    this.judged = new Map();
    this.stopped = false;
  }

  // What each generation says, and each attempt of it, stands together, though they may speak at once.
  get text() {
    return this.shown(() => true);
  }

  shown(wanted) {
    return this.sayings.filter(wanted).map(({ line }) => line.textContent).join("\n\n");
  }

  of(event, attempt) {
    return this.sayings.find((one) => one.generation === generationOf(event) && one.attempt === attempt);
  }

  say(text, event, attempt = event.attempt) {
    let saying = this.of(event, attempt);
    if (!saying) {
      const line = this.textLine.appendChild(element("span", "saying"));
      saying = { generation: generationOf(event), attempt, place: placeOf(event), seq: event.seq, line };
      this.sayings.push(saying);
    }
    following(() => saying.line.append(text));
  }

  keep(wanted) {
    this.sayings.filter((saying) => !wanted(saying)).forEach(({ line }) => line.remove());
    this.sayings = this.sayings.filter(wanted);
  }

  // What the attempts of a graph's generation have said while none is accepted.
  drafts(event) {
    return this.sayings.filter((one) => one.generation === generationOf(event) && one.attempt !== null);
  }

  // The attempt that a graph's verdict is of, where it does not say: the one that is undecided; null where several are.
  judging(event) {
    const drafts = this.drafts(event);
    if (drafts.length) return drafts.length > 1 ? null : drafts[0].attempt;
    const rows = [...this.attempts].filter(([key]) => key.startsWith(`${generationOf(event)} `));
    return 1 + rows.filter(([, row]) => row.matches(".void")).length;
  }

  // One of them is accepted, and is said again in their place.
  accept(event) {
    const [first, ...others] = this.drafts(event);
    if (!first) return;
    this.keep((saying) => !others.includes(saying));
    first.line.textContent = "";
    first.attempt = null;
  }

  // The attempt that is the answer; it may have been given up, where none was better.
  settle(event) {
    const saying = this.given.find(({ attempt }) => attempt === event.attempt);
    if (saying) {
      this.textLine.append(saying.line);
      this.sayings.push(saying);
      const row = this.attempt(event, event.attempt);
      row.querySelector(".who").textContent = `Attempt ${event.attempt}, taken: none was better`;
    }
    this.keep(({ attempt }) => attempt === event.attempt);
  }

  think(text) {
    let line = this.item.querySelector(".thinking");
    if (!line) this.textLine.before((line = element("p", "thinking")));
    line.append(text);
  }

  note(text, bad = false) {
    following(() => this.item.append(element("p", bad ? "note bad" : "note", text)));
  }

  // The list of attempts, shown once there is anything to judge.
  attempt(event, number) {
    const key = `${generationOf(event)} ${number}`;
    if (!this.attempts.has(key)) {
      let box = this.item.querySelector(".attempts");
      if (!box) {
        box = element("details", "attempts");
        box.append(element("summary", "", "Attempts"), element("ul", ""));
        this.item.append(box);
      }
      const row = element("li", "attempt");
      row.append(element("p", "who", this.attemptName(event, number)), element("ul", "verdicts"));
      box.querySelector("ul").append(row);
      this.attempts.set(key, row);
      const count = [...this.attempts.keys()].filter((other) => !other.endsWith(" null")).length;
      box.querySelector("summary").textContent = count ? `${count} attempt${count > 1 ? "s" : ""}` : "Attempts";
    }
    return this.attempts.get(key);
  }

  attemptName(event, number) {
    const place = placeOf(event);
    const name = number === null ? "Attempts" : `Attempt ${number}`;
    if (!place) return name;
    const known = this.judged.get(place) ?? [];
    if (!known.includes(event.thunk_id)) this.judged.set(place, [...known, event.thunk_id]);
    const count = this.judged.get(place).indexOf(event.thunk_id) + 1;
    return `${name} of ${place}${count > 1 ? ` (${count})` : ""}`;
  }

  verdict(event, number) {
    const word = event.passed === null ? "unknown" : event.passed ? "passed" : "failed";
    const reason = event.reason ? `: ${event.reason}` : "";
    const line = element("li", event.passed ? "pass" : "fail", `${word}: ${event.requirement}${reason}`);
    this.attempt(event, number).querySelector(".verdicts").append(line);
  }

  void(event, number) {
    const [row, saying] = [this.attempt(event, number), this.of(event, number)];
    if (saying) {
      row.append(element("p", "draft", saying.line.textContent));
      this.given.push(saying);
      this.keep((other) => other !== saying);
    }
    row.classList.add("void");
    row.querySelector(".who").textContent = `${this.attemptName(event, number)}, given up: ${event.reason}`;
  }
}

const SHOW = {
  delta: (answer, event) => answer.say(event.text, event),
  thinking: (answer, event) => answer.think(event.text),
  checked: (answer, event) => answer.verdict(event, event.attempt),
  retried: (answer, event) => answer.void(event, event.void),
  tool_call: (answer, event) => event.complete && answer.note(`Calls ${event.name}(${event.arguments})`),
  tool_result: (answer, event) => answer.note(`${event.name}: ${event.text}`, !event.ok),
  finished(answer, event) {
    answer.settle(event);
    ended(answer, event);
  },
  failed: (answer, event) => answer.note(event.error, true),
  error: (answer, event) => answer.note(event.error, true),
  cancelled: (answer) => answer.note("Stopped."),
  // a graph's
  token(answer, event) {
    answer.accept(event);
    answer.say(event.content, event, null);
  },
  draft: (answer, event) => answer.say(event.content, event, event.draft),
  reasoning_token: (answer, event) => answer.think(event.content),
  validation: (answer, event) => answer.verdict(event, event.draft ?? answer.judging(event)),
  draft_discarded: (answer, event) => answer.void(event, event.draft),
  message_complete(answer, event) {
    const drafts = event.error ? [] : answer.drafts(event); // what was accepted without a word
    answer.keep((saying) => !drafts.includes(saying));
  },
  node_start: (answer, event) => mark(event.node_id, "runs"),
  node_complete: (answer, event) => mark(event.node_id, "done"),
  node_error: (answer, event) => mark(event.node_id, event.will_retry ? "runs" : "failed"),
  node_retry(answer, event) {
    answer.keep((saying) => saying.seq < event.discard_from_seq || !isIn(saying.place, placeOf(event)));
  },
  custom: (answer, event) => answer.note(JSON.stringify(event.payload)),
  interrupt: (answer, event) => answer.note(`It asks: ${JSON.stringify(event.value)}`),
  execution_complete(answer, event) {
    const own = answer.shown(({ place }) => graph?.answer && isIn(place, graph.answer));
    if (!answer.text && event.output != null) {
      answer.say(typeof event.output === "string" ? event.output : JSON.stringify(event.output), event);
    } else if (own) {
      answer.final = own;
    }
    ended(answer, event);
  },
  execution_error: (answer, event) => answer.note(event.error, true),
  execution_cancelled: (answer) => answer.note("Stopped."),
};

function ended(answer, event) {
  const usage = event.usage ? `${event.usage.output_tokens} tokens, ` : "";
  answer.note(`${usage}${event.seconds.toFixed(1)} s${event.finish_reason === "length" ? ", cut off at its limit" : ""}`);
}

// --- asking ---------------------------------------------------------------------------------------------------------

function busy(answer) {
  current = answer;
  $("send").disabled = answer !== null;
  $("stop").disabled = answer === null;
  $("retry").disabled = answer !== null || turns.length === 0;
  // A screen reader says the answer once, when it is whole.
  $("turns").setAttribute("aria-busy", String(answer !== null));
}

async function answerTurns() {
  const [answer, mine] = [new Answer(), talk];
  document.querySelectorAll("#graph g").forEach((node) => node.setAttribute("class", ""));
  busy(answer);
  $("status").textContent = "Answering …";
  try {
    for await (const event of runEvents(answer)) SHOW[event.type]?.(answer, event);
    $("status").textContent = answer.stopped ? "Stopped." : "Done.";
  } catch (error) {
    answer.note(error.message, true);
    $("status").textContent = "It failed.";
  } finally {
    const text = answer.final ?? answer.text;
    if (text && mine === talk) turns.push({ role: "assistant", content: text });
    busy(null);
    if ($("keyline").hidden || $("key").value) $("prompt").focus();
  }
}

function send() {
  const text = $("prompt").value.trim();
  if (!text || current) return;
  turns.push({ role: "user", content: text });
  addTurn("user", text);
  $("prompt").value = "";
  answerTurns();
}

async function stop() {
  if (!current?.run || current.stopped) return;
  current.stopped = true;
  await ask(`/v1/runs/${current.run}`, { method: "DELETE" }).catch((error) => current?.note(error.message, true));
}

function retry() {
  if (current) return;
  while (turns.length && turns.at(-1).role === "assistant") turns.pop();
  if ($("turns").lastElementChild?.className === "assistant") $("turns").lastElementChild.remove();
  if (turns.length) answerTurns();
}

function reset() {
  stop();
  talk += 1;
  turns.length = 0;
  $("turns").replaceChildren();
  $("empty").hidden = false;
  $("status").textContent = "";
  $("retry").disabled = true;
  $("prompt").focus();
}

// --- the graph ------------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Each node one row below the lowest that leads to it; edges back do not count.
function rows(names, edges) {
  const row = new Map(names.map((name) => [name, 0]));
  for (let pass = 0; pass < names.length; pass++) {
    for (const { source, target, loop } of edges) {
      const forward = !loop && names.indexOf(target) > names.indexOf(source);
      if (forward && row.has(source) && row.get(target) <= row.get(source)) row.set(target, row.get(source) + 1);
    }
  }
  return row;
}

function draw() {
  const names = graph.nodes.map((node) => node.name);
  const row = rows(names, graph.edges);
  const place = new Map();
  const [wide, high, width] = [170, 74, 140];
  const counts = new Map();
  for (const name of names) {
    const column = counts.get(row.get(name)) ?? 0;
    counts.set(row.get(name), column + 1);
    place.set(name, { column, row: row.get(name) });
  }
  const across = Math.max(...counts.values()) * wide;
  const at = (name) => {
    const { column, row } = place.get(name);
    return { x: (across - counts.get(row) * wide) / 2 + column * wide + wide / 2, y: row * high + 36 };
  };
  const svg = drawn("svg", { viewBox: `0 0 ${across + 40} ${counts.size * high + 6}`, width: across + 40, role: "img" });
  svg.append(drawn("title", {}, `Graph ${graph.name}: ${names.join(", ")}`));
  const tip = drawn("path", { d: "M0 0L8 4L0 8z" });
  svg.append(drawn("defs", {}, drawn("marker", { id: "tip", markerWidth: 8, markerHeight: 8, refX: 7, refY: 4, orient: "auto" }, tip)));
  for (const { source, target, loop } of graph.edges) {
    if (!place.has(source) || !place.has(target)) continue;
    const [from, to] = [at(source), at(target)];
    const back = loop || to.y <= from.y;
    const side = Math.max(from.x, to.x) + width / 2;
    const d = back
      ? `M${from.x + width / 2} ${from.y}C${side + 36} ${from.y} ${side + 36} ${to.y} ${to.x + width / 2} ${to.y}`
      : `M${from.x} ${from.y + 20}L${to.x} ${to.y - 21}`;
    svg.append(drawn("path", { d, "marker-end": "url(#tip)", class: back ? "loop" : "" }));
  }
  for (const { name, type } of graph.nodes) {
    const { x, y } = at(name);
    const box = drawn("rect", { x: x - width / 2, y: y - 20, width, height: 40, rx: 8 });
    svg.append(drawn("g", { "data-node": name }, box, drawn("text", { x, y: y - 1 }, name), drawn("text", { x, y: y + 13, class: "kind" }, type)));
  }
  $("graph").replaceChildren(svg);
  $("graph").hidden = false;
}

function mark(name, state) {
  document.querySelectorAll("#graph g").forEach((node) => {
    if (node.dataset.node === name) node.setAttribute("class", state);
  });
}

// --- the beginning --------------------------------------------------------------------------------------------------

async function begin() {
  try {
    const models = await (await ask("/v1/models")).json();
    $("model").textContent = document.title = models.data[0].id;
    if (models.data[0].graph) {
      graph = await (await ask("/v1/graph")).json();
      draw();
    }
    $("status").textContent = "";
  } catch (error) {
    $("status").textContent = error.message;
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", (event) => event.key === "Escape" && stop());
$("stop").addEventListener("click", stop);
$("retry").addEventListener("click", retry);
$("reset").addEventListener("click", reset);
$("key").addEventListener("change", begin);
begin();
