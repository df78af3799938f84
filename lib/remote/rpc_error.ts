import { Code, ConnectError } from "@connectrpc/connect";
import { RpcError } from "./rpc.ts";

/** What a call was rejected with, as what it says of the server. */
export function rpcErrorOf(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  const { code, rawMessage: raw, cause } = ConnectError.from(
    error,
    Code.Unknown,
  );
  const message = oneLine(raw) || `gRPC ${Code[code]}`;
  if (CUT.test(raw)) {
    return new RpcError(code, "The connection was cut", { cause: error });
  }
  if (textsOf(cause).some((text) => CERTIFICATE.test(text))) {
    return new RpcError(code, message, { kind: "refused", cause: error });
  }
  if (NOT_GRPC.test(raw)) {
    const what = `The server does not speak gRPC: ${message}`;
    return new RpcError(code, what, { kind: "refused", cause: error });
  }
  const kind = GARBAGE.test(raw) && { kind: "wrong" } as const;
  return new RpcError(code, message, { ...kind, cause: error });
}

/** What connect-node says of a connection that ended without a word. */
const CUT = /^http\/2 stream closed with error code CANCEL\b/;
/** What TLS says that another try can't mend. Not that a connection was reset. */
const CERTIFICATE =
  /certificate|^(ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/i;
/** What connect-node and node:http2 say when the answer is another protocol's. */
const NOT_GRPC =
  /^unsupported content type|^HTTP (3|4(?!01|03|08|29))|^Protocol error$/;
/** What connect-node says of messages that it can't read, or that come at the wrong time. */
const GARBAGE =
  /^(protocol error|parse binary|received compressed|invalid grpc-status|unsupported response encoding)|readMaxBytes/;

/** The messages and codes of an error, and of what caused it. */
function textsOf(error: unknown): string[] {
  const texts: string[] = [];
  for (let depth = 0; error instanceof Error && depth < 8; depth++) {
    texts.push(error.message, String((error as { code?: unknown }).code));
    error = error.cause;
  }
  return texts;
}

/** A server's words, fit for a message of one line. */
function oneLine(text: string): string {
  return text.replaceAll(/[^\P{C}]+/gu, " ").trim().slice(0, 200);
}
