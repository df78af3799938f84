import { HttpError } from "./http_error.ts";

/**
 * Where a redirect leads, if credentials may go there: nowhere but to the same server, or
 * from `http` to `https` on the same host.
 *
 * @throws RemoteError If not.
 */
export function redirected(
  method: string,
  from: URL,
  status: number,
  location: string,
): URL {
  // The others turn an upload into something else.
  const kept = status === 307 || status === 308;
  const followed = kept || [301, 302, 303].includes(status) && method !== "PUT";
  const to = URL.parse(location, from);
  if (!followed || !to) {
    throw new HttpError(
      "refused",
      `the server answered ${method} with ${status}`,
    );
  }
  const secured = from.protocol === "http:" && to.protocol === "https:" &&
    from.hostname === to.hostname && from.port === "" && to.port === "";
  if (to.origin !== from.origin && !secured) {
    const where = to.hostname === from.hostname ? to.origin : to.hostname;
    throw new HttpError("refused", `the server redirects to ${where}`);
  }
  to.username = to.password = to.hash = "";
  return to;
}
