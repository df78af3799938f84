/** The SHA-256 of bytes, or of a text, in hexadecimal digits. */
export async function sha256(
  of: Uint8Array<ArrayBuffer> | string,
): Promise<string> {
  const bytes = typeof of === "string" ? new TextEncoder().encode(of) : of;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
