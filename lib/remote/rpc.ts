/**
 * The seam between the engine and a gRPC library.
 *
 * @module
 */

import type {
  DescMessage,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { RemoteError } from "./engine.ts";

/** Calls to a server. They reject with an {@linkcode RpcError}, and the signal's reason. */
export interface Rpc extends Disposable {
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    call: RpcCall,
  ): Promise<MessageShape<O>>;
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    input: MessageInitShape<I>,
    call: RpcCall,
  ): AsyncGenerator<MessageShape<O>, void>;
  /** Rejects with what the input throws, too. A server may answer before it has all of it. */
  clientStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
    input: AsyncIterable<MessageInitShape<I>>,
    call: RpcCall,
  ): Promise<MessageShape<O>>;
}

/** How a call is done. */
export interface RpcCall {
  readonly signal: AbortSignal;
  /** Milliseconds that the server may be silent for beyond the usual: it has much to do. */
  readonly patience?: number;
  /** Called when a call is begun. */
  readonly onCall?: () => void;
  /** Called with the size of each message that is sent. */
  readonly onSent?: (bytes: number) => void;
  /** Called with the size of each message that came. */
  readonly onReceived?: (bytes: number) => void;
}

/** The codes of gRPC that an engine has a use for. */
export const RpcCode = { OK: 0, ALREADY_EXISTS: 6, NOT_FOUND: 5 } as const;

/** A call that failed, by gRPC's code. */
export class RpcError extends RemoteError {
  /** gRPC's code. */
  readonly code: number;
  /** Whether the same call may well succeed in a moment. */
  readonly isTransient: boolean;

  constructor(code: number, message: string, how: {
    kind?: RemoteError["kind"];
    isTransient?: boolean;
    cause?: unknown;
  } = {}) {
    const [kind, isTransient] = meaning(code);
    super(how.kind ?? kind, message, how.cause);
    this.code = code;
    const isWeather = this.kind === "down";
    this.isTransient = how.isTransient ?? (isTransient && isWeather);
  }
}

/** What a code says of a server, and whether to try again. */
function meaning(code: number): [RemoteError["kind"], boolean] {
  switch (code) {
    case 1: // canceled: not by us, as that is told from it, so it was cut
    case 4: // deadline exceeded
    case 8: // resource exhausted
    case 10: // aborted
    case 13: // internal
    case 14: // unavailable
      return ["down", true];
    case 2: // unknown
      return ["down", false];
    case 11: // out of range
    case 15: // data loss
      return ["wrong", false];
    default: // It understood, and says no.
      return ["refused", false];
  }
}

/** How long to wait before the second and the third try, in milliseconds. */
const DELAYS = [100, 400];

/** Makes a call that does no harm twice, up to three times if the weather is bad. */
export async function retried<T>(
  signal: AbortSignal,
  call: () => Promise<T>,
): Promise<T> {
  for (let tries = 0;; tries++) {
    try {
      return await call();
    } catch (error) {
      if (!await mayRetry(error, tries, signal)) throw error;
    }
  }
}

/** Waits a while if there is a point in trying again. */
export async function mayRetry(
  error: unknown,
  tries: number,
  signal: AbortSignal,
): Promise<boolean> {
  const delay = DELAYS[tries];
  if (delay === undefined) return false;
  if (!(error instanceof RpcError && error.isTransient)) return false;
  // Not all at once, where many were cut off together.
  await pause(delay * (0.5 + Math.random()), signal);
  return true;
}

/** @throws The signal's reason. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const stop = () => reject(signal.reason);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  });
}
