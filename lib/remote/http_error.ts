/**
 * What servers that speak HTTP do, classified.
 *
 * @module
 */

import { RemoteError } from "./engine.ts";

/** A {@linkcode RemoteError} that says whether it helps to try again. */
export class HttpError extends RemoteError {
  /** `again`: it may be over in a moment. `cut`: there was no answer to be read. */
  readonly again: boolean;
  readonly cut: boolean;
  constructor(
    kind: RemoteError["kind"],
    message: string,
    { again = false, cut = false }: { again?: boolean; cut?: boolean } = {},
  ) {
    super(kind, message);
    this.again = again;
    this.cut = cut;
  }
}

/** What no server mends by being asked again: it speaks another protocol, or TLS failed. */
const REFUSED =
  /certificate|fatal alert|corrupt message|invalid HTTP|Requests to port|proxy authentication/i;
/** Those that last: a second try only takes the time of the first. */
const LASTING = /dns error|timed out|deadline/i;

/**
 * An error of `fetch`, or of reading what it answered. What Deno says is in the message,
 * but for the address, which may hold a secret.
 */
export function fetchError(error: unknown): HttpError {
  const text = detailOf(error);
  if (error instanceof Deno.errors.NotCapable) {
    return new HttpError(
      "refused",
      "Deno may not use the network (--allow-net)",
    );
  }
  if (REFUSED.test(text)) return new HttpError("refused", text);
  return new HttpError("down", text, {
    again: !LASTING.test(text),
    cut: true,
  });
}

/** Whether that status says that there is no such object. */
export function saysNotThere(method: string, status: number): boolean {
  if (method === "PUT") return false;
  // Some servers know no HEAD: what they have is sent again.
  return status === 404 || status === 410 ||
    method === "HEAD" && (status === 405 || status === 501);
}

/** A status that is not success. `code`: the server's own word for it. */
export function statusError(
  method: string,
  status: number,
  code?: string,
): HttpError {
  const said = `the server answered ${method} with ${status}${
    code ? ` (${code})` : ""
  }`;
  const again = [408, 429, 500, 502, 503, 504].includes(status);
  if (again || status > 505) return new HttpError("down", said, { again });
  switch (status) {
    case 401:
    case 403:
      return new HttpError("refused", `${said}: other credentials are needed`);
    case 404:
    case 405:
      return new HttpError("refused", `${said}: it takes nothing there`);
    case 413:
      return new HttpError("refused", `${said}: that is too large for it`);
    case 416:
      return new HttpError("wrong", `${said}: what it has is shorter`);
  }
  return new HttpError("refused", said);
}

/** `client error (Connect): tcp connect error: Connection refused`, without the address. */
function detailOf(error: unknown): string {
  if (!(error instanceof Error)) return "the connection failed";
  const { message } = error.cause instanceof Error ? error.cause : error;
  const known = /client error \(\w+\): (.*)$/s.exec(message)?.[1];
  if (known !== undefined) return known;
  // Others name no address, as far as is known.
  return /:\/\//.test(message) ? "the connection failed" : message;
}
