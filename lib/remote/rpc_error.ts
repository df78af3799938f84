import { Code, ConnectError } from "@connectrpc/connect";
import { RpcError } from "./rpc.ts";

/** What a call was rejected with, as what it says of the server. */
export function rpcErrorOf(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  const { code, rawMessage } = ConnectError.from(error, Code.Unknown);
  const texts = [rawMessage, ...causesOf(error)];
  const message = oneLine(rawMessage) || `gRPC ${Code[code]}`;
  const cause = error;
  const says = (what: RegExp) => texts.some((text) => what.test(text));
  if (says(CERTIFICATE)) {
    return new RpcError(code, message, { kind: "refused", cause });
  }
  if (says(NOT_GRPC)) {
    const what = `The server does not speak gRPC: ${message}`;
    return new RpcError(code, what, { kind: "refused", cause });
  }
  if (says(GARBAGE)) {
    return new RpcError(code, message, { kind: "wrong", cause });
  }
  return new RpcError(code, message, { cause });
}

/** What TLS says that another try can't mend. */
const CERTIFICATE = /certificate|\bTLS\b|\bSSL\b|handshake|HandshakeFailure/i;
/** What connect-node and node:http2 say when the answer is another protocol's. */
const NOT_GRPC =
  /^unsupported content type|^HTTP [34](?!08|29)|ERR_HTTP2_ERROR|Protocol error/i;
/** What connect-node says of messages that it can't read, or that come at the wrong time. */
const GARBAGE =
  /^protocol error|readMaxBytes|parse binary|cannot decode|premature EOF|invalid wire|unsupported response encoding/i;

/** The messages and codes of what an error was caused by. */
function causesOf(error: unknown): string[] {
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
