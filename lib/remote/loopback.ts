/**
 * What goes over the network in clear text, and where to.
 *
 * @module
 */

/** Whether a host of a URL is this machine, so that nobody else hears what goes there. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/\.$/, "");
  return host === "localhost" || host.endsWith(".localhost") ||
    host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}
