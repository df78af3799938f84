import { createServer, type Http2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type CacheCapabilitiesSchema,
  Capabilities,
  DigestFunction_Value,
  ServerCapabilitiesSchema,
} from "../../lib/remote/messages_pb.ts";

/** A server of gRPC that does what a test wants, be it wrong. */
export class GrpcServer implements AsyncDisposable {
  readonly #server: ReturnType<typeof createServer>;
  readonly #sessions = new Set<Http2Session>();

  private constructor(routes: (router: ConnectRouter) => void) {
    this.#server = createServer(connectNodeAdapter({ routes }));
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("error", () => {});
      session.on("close", () => this.#sessions.delete(session));
    });
  }

  /** Starts one that can do SHA-256, and what else is given, and has these services. */
  static async start(
    services: (router: ConnectRouter) => void,
    can: MessageInitShape<typeof CacheCapabilitiesSchema> = {},
  ): Promise<GrpcServer> {
    const server = new GrpcServer((router) => {
      router.service(Capabilities, {
        getCapabilities: () =>
          create(ServerCapabilitiesSchema, {
            cacheCapabilities: {
              digestFunctions: [DigestFunction_Value.SHA256],
              ...can,
            },
          }),
      });
      services(router);
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    server.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    return server;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `grpc://127.0.0.1:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const it of this.#sessions) it.destroy();
    await promise;
  }
}
