// The service's API, by the cookie of the sign-in page.

export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail && detail !== title ? `${title}: ${detail}` : title);
    this.status = status;
  }
}

export async function ask(path, { method = "GET", body } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-Ahwatch"] = "1"; // what a foreign page cannot send
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new Problem(0, "The service cannot be reached");
  }
  const text = await response.text().catch(() => "");
  const value = parsed(text);
  if (response.status === 401) location.assign("/"); // the token has expired: the sign-in page
  if (!response.ok) throw new Problem(response.status, value?.title ?? `The service answered ${response.status}`, value?.detail);
  return value;
}

/** Why the service cannot judge now; empty: it can. */
export async function readiness() {
  const response = await fetch("/readyz", { signal: AbortSignal.timeout(15_000) }).catch(() => null);
  return parsed((await response?.text().catch(() => "")) ?? "")?.reasons ?? [];
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const post = (path, body) => ask(path, { method: "POST", body });

export const sessionPath = (id, rest = "") => `/v1/sessions/${encodeURIComponent(id)}${rest}`;
