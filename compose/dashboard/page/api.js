// Calls to the dashboard's own server; an error is a sentence for people.

const WRITES = { "X-Headrace-Order": "1", "Content-Type": "application/json" };

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new ApiError("The dashboard does not answer. Is the stack up? `headrace status` tells; this page tries again by itself.", 0);
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(body.error ?? `The dashboard answered ${response.status}.`, response.status);
  return body;
}

export const read = (name, params = {}) => {
  const query = new URLSearchParams(params).toString();
  return call(`api/${name}${query ? `?${query}` : ""}`);
};
export const write = (name, body) => call(`api/${name}`, { method: "POST", headers: WRITES, body: JSON.stringify(body) });
export const signIn = (token) => write("session", { token });
export const signOut = () => call("api/session", { method: "DELETE", headers: WRITES });
