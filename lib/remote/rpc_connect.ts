import {
  create,
  type DescMessage,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { EngineOptions } from "./engine.ts";
import { messageSize } from "./message_size.ts";
import { type Rpc, type RpcCall, RpcError } from "./rpc.ts";
import { Deadline, type Deadlines } from "./rpc_deadline.ts";
import { rpcErrorOf } from "./rpc_error.ts";
import { Line } from "./rpc_line.ts";

/** No message that we ask for is larger: a batch is 4 MiB. */
const LARGEST = 16 << 20;

/** gRPC by `@connectrpc/connect-node`. One connection, which is opened when it is needed. */
export class ConnectRpc implements Rpc {
  readonly #line: Line;
  readonly #transport: Transport;
  readonly #headers: Record<string, string>;
  readonly #deadlines: Deadlines;

  /** @param origin `http://host:port` or `https://host:port`. */
  constructor(origin: string, options: EngineOptions) {
    this.#line = new Line(origin, options);
    this.#headers = { ...options.headers };
    this.#deadlines = {
      connect: options.connectTimeout ?? 2000,
      idle: options.idleTimeout ?? 10_000,
    };
    this.#transport = createGrpcTransport({
      baseUrl: origin,
      sessionManager: this.#line,
      readMaxBytes: LARGEST,
      writeMaxBytes: LARGEST,
      acceptCompression: [],
    });
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    call: RpcCall,
  ): Promise<MessageShape<O>> {
    using deadline = this.#begin(call);
    const message = create(method.input, input);
    call.onSent?.(messageSize(method.input, message));
    try {
      const answer = this.#transport
        .unary(method, deadline.signal, 0, this.#headers, input);
      const { message } = await deadline.waitFor(answer);
      call.onReceived?.(messageSize(method.output, message));
      return message;
    } catch (error) {
      throw deadline.reason ?? rpcErrorOf(error);
    }
  }

  async *serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    input: MessageInitShape<I>,
    call: RpcCall,
  ): AsyncGenerator<MessageShape<O>, void> {
    using deadline = this.#begin(call);
    const message = create(method.input, input);
    call.onSent?.(messageSize(method.input, message));
    try {
      const answer = this.#transport
        .stream(method, deadline.signal, 0, this.#headers, once(message));
      const { message: stream } = await deadline.waitFor(answer);
      const messages = stream[Symbol.asyncIterator]();
      for (;;) {
        const next = await deadline.waitFor(messages.next());
        if (next.done) return;
        call.onReceived?.(messageSize(method.output, next.value));
        yield next.value;
      }
    } catch (error) {
      throw deadline.reason ?? rpcErrorOf(error);
    } finally {
      deadline.end();
    }
  }

  async clientStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
    input: AsyncIterable<MessageInitShape<I>>,
    call: RpcCall,
  ): Promise<MessageShape<O>> {
    using deadline = this.#begin(call);
    const failures: unknown[] = [];
    const messages = input[Symbol.asyncIterator]();
    const next = async () => {
      deadline.pause(); // Now the server waits for us.
      try {
        return await messages.next();
      } catch (error) {
        failures.push(error);
        throw error;
      } finally {
        deadline.resume();
      }
    };
    const outgoing = async function* () {
      try {
        for (let it = await next(); !it.done; it = await next()) {
          const message = create(method.input, it.value);
          call.onSent?.(messageSize(method.input, message));
          yield message;
        }
      } finally {
        await messages.return?.();
      }
    };
    try {
      const answer = this.#transport
        .stream(method, deadline.signal, 0, this.#headers, outgoing());
      const { message: stream } = await answer;
      let last: MessageShape<O> | undefined;
      for await (const message of stream) {
        call.onReceived?.(messageSize(method.output, message));
        last = message;
      }
      if (last) return last;
    } catch (error) {
      throw failures[0] ?? deadline.reason ?? rpcErrorOf(error);
    } finally {
      deadline.end();
    }
    throw rpcErrorOf(new Error("The server ended a call without an answer"));
  }

  [Symbol.dispose](): void {
    const how = { isTransient: false };
    this.#line.fail(new RpcError(1, "The remote was closed", how));
  }

  #begin(call: RpcCall): Deadline {
    call.signal.throwIfAborted();
    call.onCall?.();
    const { connect, idle } = this.#deadlines;
    const deadlines = { connect, idle: idle + (call.patience ?? 0) };
    return new Deadline(call.signal, this.#line, deadlines);
  }
}

async function* once<T>(value: T): AsyncGenerator<T> {
  await Promise.resolve();
  yield value;
}
