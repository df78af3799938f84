import type { EngineOptions } from "./engine.ts";
import { HttpError } from "./http_error.ts";

/** What is sent with each request. */
export function headersOf(
  headers: Readonly<Record<string, string>> = {},
): Record<string, string> {
  try {
    return Object.fromEntries(new Headers(headers));
  } catch {
    // Not what it says: that has the header in it.
    throw new HttpError("refused", "a header cannot be sent as it is");
  }
}

/** Deno's client, with these certificates. */
export function clientOf({ ca, cert, key }: EngineOptions): Deno.HttpClient {
  try {
    return Deno.createHttpClient({
      // Deno's HTTP/2 takes 44 ms for each small request.
      http2: false,
      poolMaxIdlePerHost: 16,
      ...ca !== undefined && { caCerts: [ca] },
      ...cert !== undefined && key !== undefined && { cert, key },
    });
  } catch {
    throw new HttpError("refused", "a certificate, or its key, cannot be read");
  }
}

/** An object's address. */
export function below(base: URL, path: string): URL {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path}`;
  return url;
}
