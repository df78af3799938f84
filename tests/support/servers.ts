/**
 * Real servers for tests of remotes, on loopback: each with free ports and a directory of
 * its own, gone when it is disposed of. A test names what it starts among its needs.
 */

import { createHash } from "node:crypto";
import type { Certificates } from "./certificates.ts";
import { ServerProcess } from "./server.ts";
import type { TempDir } from "./temp_dir.ts";

/** bazel-remote. */
export interface BazelRemote extends AsyncDisposable {
  /** `http://127.0.0.1:…`, or `https`. */
  readonly http: string;
  /** `grpc://127.0.0.1:…`, or `grpcs`. */
  readonly grpc: string;
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly process: ServerProcess;
}

/** How bazel-remote is started. */
export interface BazelRemoteOptions {
  /** Who may write; others may read. */
  user?: { name: string; password: string };
  /** Speak TLS. */
  tls?: Certificates;
  /** Ask for a client's certificate, too. */
  mutual?: boolean;
  /** Further arguments. */
  args?: readonly string[];
}

/** Starts bazel-remote, with HTTP and gRPC at once. */
export async function startBazelRemote(
  { user, tls, mutual, args = [] }: BazelRemoteOptions = {},
): Promise<BazelRemote> {
  const process = await ServerProcess.start(
    "bazel-remote",
    2,
    (dir, [http, grpc]) => {
      const given = ["--max_size", "5", "--access_log_level", "none", ...args];
      given.push("--dir", dir.at("cache"));
      given.push("--http_address", `127.0.0.1:${http}`);
      given.push("--grpc_address", `127.0.0.1:${grpc}`);
      if (user) {
        given.push("--htpasswd_file", writePasswords(dir, user));
        given.push("--allow_unauthenticated_reads");
      }
      if (tls) {
        given.push("--tls_cert_file", tls.files.cert);
        given.push("--tls_key_file", tls.files.key);
        if (mutual) given.push("--tls_ca_file", tls.files.ca);
      }
      return given;
    },
  );
  const [httpPort, grpcPort] = process.ports as [number, number];
  return {
    http: `http${tls ? "s" : ""}://127.0.0.1:${httpPort}`,
    grpc: `grpc${tls ? "s" : ""}://127.0.0.1:${grpcPort}`,
    httpPort,
    grpcPort,
    process,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** The value of an `Authorization` header. */
export function basic(user: { name: string; password: string }): string {
  return `Basic ${btoa(`${user.name}:${user.password}`)}`;
}

/** nginx with its dav module. */
export interface Nginx extends AsyncDisposable {
  /** `http://127.0.0.1:…`, or `https`. */
  readonly url: string;
  /** The same cache, for those who may not write. */
  readonly readOnlyUrl: string;
  readonly port: number;
  /** Where its files are: `ac/<sha256>`, `cas/<sha256>`. */
  readonly files: string;
  readonly process: ServerProcess;
}

/** Starts nginx as a cache of Bazel's protocol. */
export async function startNginx(
  { tls }: { tls?: Certificates } = {},
): Promise<Nginx> {
  const process = await ServerProcess.start("nginx", 1, (dir, [port]) => {
    dir.write({ cache: {}, tmp: {}, "nginx.conf": nginxConf(dir, port!, tls) });
    return ["-e", dir.at("error.log"), "-p", dir.path, "-c", "nginx.conf"];
  });
  const port = process.ports[0]!;
  const url = `http${tls ? "s" : ""}://127.0.0.1:${port}`;
  return {
    url,
    readOnlyUrl: `${url}/ro`,
    port,
    files: process.dir.at("cache"),
    process,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** A server of buckets. */
export interface BucketServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly port: number;
  /** One that exists. */
  readonly bucket: string;
  /** A whole address: `s3://…?endpoint=…&region=us-east-1`, with the prefix `some/where`. */
  readonly url: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly process: ServerProcess;
}

/** Starts gofakes3, which keeps everything in memory and takes any credentials. */
export async function startGofakes3(): Promise<BucketServer> {
  const process = await ServerProcess.start("gofakes3", 1, (_, [port]) => {
    const given = ["-backend", "memory", "-initialbucket", "cache"];
    return [...given, "-host", `127.0.0.1:${port}`];
  });
  return bucketServer(process);
}

/** Starts versitygw, which checks signatures, on a directory. */
export async function startVersitygw(
  { tls }: { tls?: Certificates } = {},
): Promise<BucketServer> {
  const process = await ServerProcess.start("versitygw", 1, (dir, [port]) => {
    dir.write({ buckets: { cache: {} }, attributes: {} });
    const given = ["--quiet", "--port", `127.0.0.1:${port}`];
    given.push("--access", "the-access-key", "--secret", "the-secret-key");
    if (tls) given.push("--cert", tls.files.cert, "--key", tls.files.key);
    // So that no file system needs extended attributes.
    const kept = ["--sidecar", dir.at("attributes"), dir.at("buckets")];
    return [...given, "posix", ...kept];
  });
  return bucketServer(process, tls ? "https" : "http");
}

function bucketServer(process: ServerProcess, scheme = "http"): BucketServer {
  const endpoint = `${scheme}://127.0.0.1:${process.ports[0]}`;
  return {
    endpoint,
    port: process.ports[0]!,
    bucket: "cache",
    url: `s3://cache/some/where?endpoint=${endpoint}&region=us-east-1`,
    accessKeyId: "the-access-key",
    secretAccessKey: "the-secret-key",
    process,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

function writePasswords(
  dir: TempDir,
  user: { name: string; password: string },
): string {
  const hash = createHash("sha1").update(user.password).digest("base64");
  dir.write({ htpasswd: `${user.name}:{SHA}${hash}\n` });
  return dir.at("htpasswd");
}

function nginxConf(dir: TempDir, port: number, tls?: Certificates): string {
  const ssl = tls &&
    `ssl_certificate ${tls.files.cert}; ssl_certificate_key ${tls.files.key};`;
  const at = dir.path;
  return `daemon off;
master_process off;
pid ${at}/nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${at}/tmp/body; proxy_temp_path ${at}/tmp/proxy;
  fastcgi_temp_path ${at}/tmp/f; uwsgi_temp_path ${at}/tmp/u; scgi_temp_path ${at}/tmp/s;
  keepalive_requests 100000;
  server {
    listen 127.0.0.1:${port}${tls ? " ssl" : ""};
    ${ssl ?? ""}
    client_max_body_size 0;
    # Bazel's HTTP cache: nothing but GET, HEAD and PUT.
    location ~ "^/(ac|cas)/[0-9a-f]{64}$" {
      root ${at}/cache;
      dav_methods PUT;
      create_full_put_path on;
      client_body_buffer_size 64k;
    }
    # The same for those who may only read.
    location ~ "^/ro/(?<object>(ac|cas)/[0-9a-f]{64})$" {
      limit_except GET HEAD { deny all; }
      alias ${at}/cache/$object;
    }
  }
}
`;
}
