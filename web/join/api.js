// The service's API, as a participant may use it.

/** What went wrong: `kind` is the key of a text without its `error_`. */
export class Failure extends Error {
  constructor(kind, status = 0) {
    super(kind);
    this.kind = kind;
    this.status = status;
  }
}

function kindOf(status) {
  if (status === 429) return "busy";
  return status >= 500 ? "server" : "link";
}

export class Api {
  #token;

  constructor(token) {
    this.#token = token;
  }

  get(path) {
    return this.#ask("GET", path);
  }

  post(path, body) {
    return this.#ask("POST", path, body);
  }

  async #ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(10_000) });
    } catch {
      throw new Failure("network");
    }
    if (!response.ok) throw new Failure(kindOf(response.status), response.status);
    const text = await response.text().catch(() => "");
    return text ? JSON.parse(text) : null;
  }
}
