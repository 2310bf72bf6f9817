// A stand-in for `ahwatch serve`, for tests of the pages only: it follows the HTTP contract, with invented data.
// It decides nothing, decodes nothing and keeps nothing.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { Invented, JUDGES } from "./data.mjs";

const WEB = fileURLToPath(new URL("../../../web/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".json": "application/json", ".svg": "image/svg+xml" };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; " +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

export class Mock {
  sessions = new Map();
  participants = new Map(); // token -> session id
  tokens = new Map([["ahw_operator", "operator"], ["ahw_viewer", "viewer"]]);
  log = []; // every request: { method, path, query, body }
  told = []; // every event with its seq
  feedback = new Map();
  streams = new Set();
  streamsRefused = false;
  broken = () => null; // (method, path) => a problem's { status, title } to answer with
  answer = async () => null; // an SDP offer's answer; null: 503
  resources = new Map();
  judges = JUDGES.map((name) => ({ name, model: `ah-${name}`, base_urls: ["https://gpu-1.example.org/v1"], proof: name === "v2" ? "unproven" : "proven", set_aside: false }));
  reasons = []; // why it is not ready
  sinks = [{ sink: "clinic", pending: 2, dead: 1, oldest: "2026-01-02T09:00:00Z" }];
  keeps = { events_days: 30, alerts_days: 90, audit_days: 365, recorded: false };

  async listen(port = 0) {
    this.server = createServer((request, response) => this.#serve(request, response).catch((error) => {
      console.error(error);
      response.destroy();
    }));
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async close() {
    this.cut();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  add(invented) {
    this.sessions.set(invented.id, invented);
    return invented;
  }

  /** Puts events into the journal and sends them to who listens. */
  tell(events) {
    for (const event of events) {
      const entry = { seq: this.told.length + 1, event };
      this.told.push(entry);
      for (const stream of this.streams) stream.send(entry);
    }
  }

  /** Ends all streams, as a restart does. */
  cut() {
    for (const { response } of this.streams) response.destroy();
    this.streams.clear();
  }

  async #serve(request, response) {
    const url = new URL(request.url, this.url);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    this.log.push({ method: request.method, path: url.pathname, query: url.searchParams, body });
    response.setHeader("Content-Security-Policy", CSP);
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Referrer-Policy", "no-referrer");
    const broken = this.broken(request.method, url.pathname);
    if (broken) return problem(response, broken.status, broken.title, broken.detail);
    const cookie = /(?:^|; )ahwatch=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const presented = bearer ?? cookie;
    const who = this.participants.has(presented) ? { name: "join link", role: "participant", session: this.participants.get(presented) } : { name: "Ada", role: this.tokens.get(presented), session: null };
    const of = { request, response, url, body, who, cookie: !bearer };
    if (await this.#static(of)) return;
    if (url.pathname === "/logout") return response.writeHead(303, { Location: "/", "Set-Cookie": "ahwatch=; Path=/; Max-Age=0" }).end();
    if (url.pathname === "/login" && request.method === "POST") return this.#login(of);
    if (!who.role) return problem(response, 401, "A token is needed");
    if (of.cookie && request.method !== "GET" && request.headers["x-ahwatch"] !== "1") return problem(response, 403, "The header X-Ahwatch is missing");
    return this.#api(of);
  }

  async #static({ url, who, request, response }) {
    if (request.method !== "GET") return false;
    const path = url.pathname;
    let file = null;
    if (path === "/") file = who.role && who.role !== "participant" ? "dashboard/index.html" : "signin/index.html";
    else if (path.startsWith("/join/static/texts/")) file = path.replace("/join/static/texts/", "texts/");
    else if (path.startsWith("/join/static/")) file = path.replace("/join/static/", "join/");
    else if (path.startsWith("/join/")) file = "join/index.html";
    else if (path.startsWith("/signin/") || path.startsWith("/dashboard/")) file = path.slice(1);
    if (!file) return false;
    const name = join(WEB, normalize(`/${file}`));
    if (file.startsWith("dashboard/") && (!who.role || who.role === "participant")) return problem(response, 401, "A token is needed"), true;
    const bytes = await readFile(name).catch(() => null);
    if (!bytes) return problem(response, 404, "There is no such file"), true;
    response.writeHead(200, { "Content-Type": TYPES[extname(name)] });
    response.end(bytes);
    return true;
  }

  #login({ body, response }) {
    const token = new URLSearchParams(body).get("token");
    if (!this.tokens.has(token)) return problem(response, 401, "This token is not known");
    response.writeHead(303, { Location: "/", "Set-Cookie": `ahwatch=${token}; HttpOnly; SameSite=Strict; Path=/` });
    response.end();
  }

  async #api(of) {
    const { request, response, url, body, who } = of;
    const [, top, ...rest] = url.pathname.split("/").map(decodeURIComponent);
    if (top === "whip") return this.#whip(of, rest);
    if (url.pathname === "/readyz") return json(response, this.reasons.length ? 503 : 200, { ready: !this.reasons.length, reasons: this.reasons });
    if (top !== "v1") return problem(response, 404, "There is no such page");
    const route = `${request.method} ${[rest[0], rest[1] && ":id", rest[2]].filter(Boolean).join("/")}`;
    const invented = rest[0] === "sessions" && rest[1] ? this.sessions.get(rest[1]) : null;
    if (rest[0] === "sessions" && rest[1] && !invented) return problem(response, 404, "There is no such session");
    if (who.role === "participant" && invented && invented.id !== who.session) return problem(response, 403, "This token is for another session");
    switch (route) {
      case "GET me": return json(response, 200, who);
      case "GET judges": return json(response, 200, { judges: this.judges, judgement: this.judges.length ? "panel" : "heuristic" });
      case "GET sinks": return json(response, 200, { sinks: this.sinks });
      case "GET version": return json(response, 200, { version: "0.0.0-mock" });
      case "GET join": return this.#join(of);
      case "GET sessions": return json(response, 200, { sessions: [...this.sessions.values()].reverse().map((s) => s.json()), next: null });
      case "POST sessions": return this.#create(of, JSON.parse(body));
      case "GET sessions/:id": return json(response, 200, seen(invented, who));
      case "GET sessions/:id/receipt": return invented.receipt ? json(response, 200, invented.receipt) : problem(response, 404, "No such thing");
      case "GET sessions/:id/alerts": return json(response, 200, { alerts: invented.alerts.map((event) => this.#alert(event)), next: null });
      case "GET sessions/:id/events": return this.#stream(of, invented.id);
      case "GET events": return this.#stream(of, null);
      case "GET alerts": return this.#export(of);
      case "POST alerts/:id/feedback": {
        const { verdict, note } = JSON.parse(body);
        this.feedback.set(rest[1], { verdict, note, by: who.name, at: "2026-01-02T10:00:00Z" });
        return json(response, 200, this.feedback.get(rest[1]));
      }
      case "POST sessions/:id/consent": {
        const { text_version, language } = JSON.parse(body);
        const { version } = JSON.parse(await readFile(join(WEB, `texts/${language}.json`)));
        if (text_version !== version) return problem(response, 409, "The text has changed");
        Object.assign(invented.session, { state: "awaiting_media", consent: { at: new Date().toISOString(), by: "participant", text_version, language, reference: null } });
        return json(response, 200, seen(invented, who));
      }
      case "POST sessions/:id/pause": invented.session.state = "paused"; return json(response, 200, seen(invented, who));
      case "POST sessions/:id/resume": invented.session.state = "live"; return json(response, 200, seen(invented, who));
      case "POST sessions/:id/end": this.tell(invented.ended()); return json(response, 200, invented.json());
      case "POST sessions/:id/withdraw": {
        this.tell(invented.withdrawn());
        invented.receipt ??= { id: "019b0000-0000-7000-8000-0000000000aa", session: invented.id, at: "2026-01-02T10:00:00Z", windows_deleted: 12, alerts_deleted: 1, pending_deleted: 0, receivers_told: ["clinic"] };
        return json(response, 200, invented.receipt);
      }
    }
    return problem(response, 404, "There is no such page");
  }

  #join({ response, who }) {
    if (who.role !== "participant") return problem(response, 403, "This is for participants");
    const invented = this.sessions.get(who.session);
    const panel = invented.kind === "panel";
    json(response, 200, {
      session: seen(invented, who), controller: { name: "Example Clinic", contact: "privacy@clinic.example" }, text_version: "1", language: invented.session.language ?? null,
      ice_servers: ["stun:127.0.0.1:9", "turn:127.0.0.1:9"], judges: panel ? JUDGES : [], endpoints: panel ? ["gpu-1.example.org"] : [], keeps: this.keeps,
    });
  }

  #create({ response }, wish) {
    if (wish.source.kind === "url" && !/^rtsps?:\/\//.test(wish.source.url)) return problem(response, 400, "The address is no rtsp:// address", `"${wish.source.url}" cannot be opened`);
    if (["workplace", "education"].includes(wish.purpose) && !wish.basis) return problem(response, 422, "This purpose needs a medical or safety basis");
    const id = randomUUID();
    const webrtc = wish.source.kind === "webrtc";
    const invented = this.add(new Invented({
      id, source: webrtc ? `browser-${id.slice(0, 4)}` : wish.source.url.replace(/\/\/.*@/, "//"), kind: wish.panel === "cues" ? "heuristic" : "panel",
      begin: new Date().toISOString(), purpose: wish.purpose, basis: wish.basis ?? null,
    }));
    Object.assign(invented.session, { kind: wish.source.kind, language: wish.language, state: webrtc ? "awaiting_consent" : "live" });
    if (!webrtc) return json(response, 201, invented.json());
    const token = `ahw_join_${id}`;
    this.participants.set(token, id);
    Object.assign(invented.session, { consent: null, started: null });
    json(response, 201, { ...invented.json(), join_token: token, join_url: `${this.url}/join/${token}` });
  }

  #export({ response, url }) {
    const alerts = [...this.sessions.values()].flatMap((s) => s.alerts);
    if (url.searchParams.get("format") !== "jsonl") return json(response, 200, { alerts });
    response.writeHead(200, { "Content-Type": "application/jsonl", "Content-Disposition": "attachment; filename=alerts.jsonl" });
    response.end(alerts.map((event) => JSON.stringify(this.#alert(event)) + "\n").join(""));
  }

  #alert(event) {
    return { event, feedback: this.feedback.get(event.id) ?? null, deliveries: [{ sink: "clinic", state: "delivered", attempts: 1, at: event.time, detail: null }] };
  }

  #stream({ request, response, url }, session) {
    if (this.streamsRefused) return problem(response, 503, "Not now");
    const after = Number(request.headers["last-event-id"] ?? url.searchParams.get("after") ?? this.told.length);
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const send = ({ seq, event }) => {
      if (session && event.subject !== session) return;
      response.write(`id: ${seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    };
    const stream = { response, send, after };
    response.write(": here\n\n");
    for (const entry of this.told.slice(after)) send(entry);
    this.streams.add(stream);
    request.on("close", () => this.streams.delete(stream));
    response.on("close", () => this.streams.delete(stream));
  }

  async #whip({ request, response, body, who }, [session, resource]) {
    if (who.role !== "participant" || who.session !== session) return problem(response, 403, "This token is for another session");
    const invented = this.sessions.get(session);
    if (request.method === "DELETE") return this.resources.delete(resource), response.writeHead(200).end();
    if (request.method === "PATCH") return response.writeHead(204).end();
    if (!invented.session.consent) return problem(response, 403, "Consent comes first");
    if (invented.session.state === "withdrawn" || invented.session.state === "ended") return problem(response, 409, "The session is over");
    const sdp = await this.answer(body);
    if (!sdp) return problem(response, 503, "Nobody answers");
    const id = randomUUID();
    this.resources.set(id, session);
    if (invented.session.state === "awaiting_media") invented.session.state = "live";
    response.writeHead(201, { "Content-Type": "application/sdp", Location: `/whip/${session}/${id}`, ETag: '"1"', "Accept-Patch": "application/trickle-ice-sdpfrag" });
    response.end(sdp);
  }
}

/** A session as who asks may see it: its participant sees nothing that was concluded. */
function seen(invented, { role }) {
  const all = invented.json();
  if (role !== "participant") return all;
  const { id, state, purpose, consent, created, started, ended } = all;
  return { id, state, purpose, consent, created, started, ended };
}

function json(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

function problem(response, status, title, detail = title) {
  response.writeHead(status, { "Content-Type": "application/problem+json" });
  response.end(JSON.stringify({ type: "about:blank", title, status, detail }));
}
