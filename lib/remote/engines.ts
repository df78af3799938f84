import { type Engine, RemoteError } from "./engine.ts";
import type { Settings } from "./options.ts";
import { osErrorText } from "../os/error.ts";

/** Makes the engine of a server: the modules that it needs are loaded now, and not before. */
export async function makeEngine(
  { kind, url, engine, region, credentials }: Settings,
  signal: AbortSignal,
): Promise<Engine> {
  const options = { ...engine, headers: await credentials.headers(signal) };
  switch (kind) {
    case "http": {
      const { HttpEngine } = await loaded(kind, import("./http.ts"));
      return new HttpEngine(url, options);
    }
    case "s3": {
      const keys = await credentials.aws(signal);
      const { s3Engine } = await loaded(kind, import("./s3.ts"));
      return s3Engine(url, {
        ...options,
        ...keys && { credentials: keys },
        ...region !== undefined && { region },
      });
    }
    case "grpc": {
      const { GrpcEngine } = await loaded(kind, import("./grpc.ts"));
      return new GrpcEngine(url, options);
    }
  }
}

/** Packages may be out of reach: that must not end a build. */
async function loaded<T>(kind: string, module: Promise<T>): Promise<T> {
  try {
    return await module;
  } catch (error) {
    const [why] = osErrorText(error).split("\n");
    throw new RemoteError(
      "refused",
      `what ${kind} needs can't be loaded: ${why}`,
      error,
    );
  }
}
