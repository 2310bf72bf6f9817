// A client of WHIP (RFC 9725): sends one camera and one microphone, and connects again by itself after a loss.

const CONNECT_MS = 15_000; // from the answer to the connection
const RECOVER_MS = 4_000; // how long a connection may be disconnected before a new one is made
const GATHER_MS = 1_000; // how long the offer waits for candidates; later ones are sent after it
const LONGEST_WAIT_MS = 10_000; // between two attempts

/** The server will not have this peer, and asking again would not help. */
export class Refused extends Error {
  constructor(status, detail) {
    super(`WHIP refused: ${status} ${detail}`);
    this.status = status;
  }
}

/** H.264 first, then VP8, then what repairs losses. The rest would only be declined. */
export function preferred(codecs) {
  const rank = ({ mimeType, sdpFmtpLine = "" }) => {
    switch (mimeType.toLowerCase()) {
      case "video/h264": return sdpFmtpLine.includes("packetization-mode=1") ? 0 : -1;
      case "video/vp8": return 1;
      case "video/rtx": case "video/red": case "video/ulpfec": return 2;
      default: return -1;
    }
  };
  return codecs.filter((codec) => rank(codec) >= 0).sort((a, b) => rank(a) - rank(b));
}

/**
 * STUN and TURN addresses as a browser wants them. One of TURN without a credential is left out: a browser refuses it, and the
 * whole connection with it.
 */
export function iceServers(servers) {
  return servers.map((server) => (typeof server === "string" ? { urls: server } : server)).filter(({ urls, credential }) => credential || !/^turns?:/.test(urls));
}

/** An SDP fragment (RFC 8840) with these candidates. */
export function fragment(sdp, candidates) {
  const line = (name) => sdp.split(/\r?\n/).find((text) => text.startsWith(`a=${name}:`));
  const lines = [line("ice-ufrag"), line("ice-pwd")];
  for (const mid of new Set(candidates.map(({ sdpMid }) => sdpMid))) {
    lines.push("m=audio 9 UDP/TLS/RTP/SAVPF 0", `a=mid:${mid}`);
    lines.push(...candidates.filter(({ sdpMid }) => sdpMid === mid).map(({ candidate }) => `a=${candidate}`));
  }
  return lines.filter(Boolean).join("\r\n") + "\r\n";
}

/**
 * `onState` is told "connecting", "connected", "away" (it tries again), or "refused" with the `Refused`.
 */
export class Whip {
  #url; #token; #iceServers; #onState; #stream; #sending = true; #closed = false;
  #pc = null; #resource = null; #etag = null; #late = []; #timer = null; #tries = 0; #told = null;
  #online = () => this.#pc?.connectionState === "connected" || this.#again(0);

  constructor({ url, token, servers, onState }) {
    this.#url = new URL(url, location.href);
    this.#token = token;
    this.#iceServers = servers;
    this.#onState = onState;
  }

  start(stream) {
    this.#stream = stream;
    for (const track of stream.getTracks()) track.enabled = this.#sending;
    addEventListener("online", this.#online);
    this.#tell("connecting");
    return this.#attempt();
  }

  /** Stops sending, at once. */
  async pause() {
    this.#sending = false;
    clearTimeout(this.#timer);
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = false;
    await Promise.all((this.#pc?.getSenders() ?? []).map((sender) => sender.replaceTrack(null).catch(() => {})));
  }

  /** Gives up the connection of a pause. */
  leave() {
    if (!this.#sending) this.#drop(true);
  }

  /**
   * Goes on after a pause, by a new connection. Not by the old one: while nothing is sent, a browser's clock of the sound stands
   * still and that of the pictures does not, and sound and picture would be apart from then on.
   */
  async resume() {
    if (this.#sending) return;
    this.#sending = true;
    this.#tries = 0;
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = true;
    this.#tell("connecting");
    await this.#attempt();
  }

  /** Ends it, and tells the server where `tell` is true. */
  close(tell = true) {
    this.#closed = true;
    removeEventListener("online", this.#online);
    clearTimeout(this.#timer);
    this.#drop(tell);
  }

  #track(kind) {
    return this.#stream.getTracks().find((track) => track.kind === kind) ?? null;
  }

  #tell(state, error) {
    if (this.#closed || (state === this.#told && !error)) return;
    this.#told = state;
    this.#onState(state, error);
  }

  #headers(more = {}) {
    return { Authorization: `Bearer ${this.#token}`, ...more };
  }

  #drop(tell) {
    const resource = this.#resource;
    this.#pc?.close();
    this.#pc = this.#resource = null;
    this.#late = [];
    if (tell && resource) this.#delete(resource);
  }

  #delete(resource) {
    // `keepalive`: also while the page goes away.
    fetch(resource, { method: "DELETE", headers: this.#headers(), keepalive: true }).catch(() => {});
  }

  #again(wait) {
    if (this.#closed || !this.#sending || this.#told === "refused") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#attempt(), wait);
  }

  #lost() {
    this.#tell("away");
    const wait = Math.min(1000 * 2 ** this.#tries++, LONGEST_WAIT_MS);
    this.#again(wait * (0.5 + Math.random() / 2));
  }

  async #attempt() {
    if (this.#closed || !this.#sending) return;
    this.#drop(true);
    try {
      await this.#connect();
    } catch (error) {
      if (this.#closed || !this.#sending) return; // what was broken off has failed, of course
      if (error instanceof Refused) {
        this.#drop(false);
        this.#tell("refused", error);
      } else {
        this.#lost();
      }
    }
  }

  async #connect() {
    const pc = new RTCPeerConnection({ iceServers: this.#iceServers, bundlePolicy: "max-bundle" });
    this.#pc = pc;
    for (const kind of ["audio", "video"]) {
      const transceiver = pc.addTransceiver(kind, { direction: "sendonly", streams: [this.#stream] });
      if (kind === "video") prefer(transceiver);
      await transceiver.sender.replaceTrack(this.#track(kind));
    }
    const gathered = this.#gathering(pc);
    pc.onconnectionstatechange = () => this.#changed(pc);
    await pc.setLocalDescription();
    await gathered;
    const response = await fetch(this.#url, {
      method: "POST",
      headers: this.#headers({ "Content-Type": "application/sdp" }),
      body: pc.localDescription.sdp,
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    const resource = response.status === 201 ? new URL(response.headers.get("Location"), this.#url) : null;
    if (pc !== this.#pc || this.#closed) {
      if (resource) this.#delete(resource); // paused or closed meanwhile
      return;
    }
    if (response.status !== 201) {
      const forGood = response.status < 500 && ![408, 425, 429].includes(response.status);
      throw forGood ? new Refused(response.status, text.slice(0, 200)) : new Error(`status ${response.status}`);
    }
    this.#resource = resource;
    this.#etag = response.headers.get("ETag");
    if (!response.headers.get("Accept-Patch")) pc.onicecandidate = null;
    await pc.setRemoteDescription({ type: "answer", sdp: text });
    await this.#patch(pc);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => pc === this.#pc && pc.connectionState !== "connected" && this.#lost(), CONNECT_MS);
  }

  /** Resolves when all candidates are found or the time for it is over; what comes later is sent by PATCH. */
  #gathering(pc) {
    return new Promise((resolve) => {
      let offered = false;
      const offer = () => {
        offered = true;
        resolve();
      };
      setTimeout(offer, GATHER_MS);
      pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && offer();
      pc.onicecandidate = ({ candidate }) => {
        if (!offered || !candidate?.candidate) return;
        this.#late.push(candidate);
        this.#patch(pc);
      };
    });
  }

  async #patch(pc) {
    if (!this.#resource || this.#late.length === 0) return;
    const body = fragment(pc.localDescription.sdp, this.#late.splice(0));
    const headers = this.#headers({ "Content-Type": "application/trickle-ice-sdpfrag" });
    if (this.#etag) headers["If-Match"] = this.#etag;
    // One candidate less is no reason to stop: the connection itself tells whether the others do.
    await fetch(this.#resource, { method: "PATCH", headers, body }).catch(() => {});
  }

  #changed(pc) {
    if (pc !== this.#pc) return;
    switch (pc.connectionState) {
      case "connected":
        this.#tries = 0;
        clearTimeout(this.#timer);
        this.#tell("connected");
        break;
      case "disconnected":
        this.#tell("away");
        this.#again(RECOVER_MS);
        break;
      case "failed":
        this.#lost();
        break;
    }
  }
}

function prefer(transceiver) {
  const codecs = preferred(RTCRtpSender.getCapabilities("video")?.codecs ?? []);
  // A browser without `setCodecPreferences`, or without either codec, offers what it has: the server declines the rest.
  try {
    if (codecs.length) transceiver.setCodecPreferences(codecs);
  } catch {}
}
