import type { Engine } from "./engine.ts";
import type { Settings } from "./options.ts";

/** Makes the engine of a server: the modules that it needs are loaded now, and not before. */
export async function makeEngine(
  { kind, url, engine, region, credentials }: Settings,
  signal: AbortSignal,
): Promise<Engine> {
  const options = { ...engine, headers: await credentials.headers(signal) };
  switch (kind) {
    case "http": {
      const { HttpEngine } = await import("./http.ts");
      return new HttpEngine(url, options);
    }
    case "s3": {
      const keys = await credentials.aws(signal);
      const { s3Engine } = await import("./s3.ts");
      return s3Engine(url, {
        ...options,
        ...keys && { credentials: keys },
        ...region !== undefined && { region },
      });
    }
    case "grpc": {
      const { GrpcEngine } = await import("./grpc.ts");
      return new GrpcEngine(url, options);
    }
  }
}
