import type { EngineOptions } from "./engine.ts";
import { HttpEngine } from "./http.ts";
import { HttpError } from "./http_error.ts";
import type { Dialect } from "./http_transport.ts";

/** What requests to S3 are signed with. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** How {@linkcode s3Engine} is made. */
export interface S3Options extends EngineOptions {
  /** Without any, nothing is signed: for a bucket that everybody may read. */
  credentials?: S3Credentials;
  /** Where the address names none. */
  region?: string;
}

/**
 * A bucket, with the same layout as by HTTP: `s3://bucket/prefix`, and after that, where it
 * is not AWS's, `?endpoint=https://…&region=…`.
 *
 * @throws RemoteError If the address, a header or a certificate is none.
 */
export function s3Engine(
  address: string | URL,
  options: S3Options,
): HttpEngine {
  const { base, region } = locateBucket(address, options.region);
  const dialect: Dialect = {
    codeOf: (text) => /<Code>(\w{1,64})<\/Code>/.exec(text)?.[1],
    errorOf: s3Error,
  };
  const { credentials } = options;
  if (credentials) dialect.sign = signer(credentials, region);
  return new HttpEngine(base, options, dialect);
}

/**
 * Where a bucket is: the address that `ac` and `cas` are below. It says whether that is
 * `https`.
 *
 * @throws RemoteError If the address is none.
 */
export function locateBucket(
  address: string | URL,
  otherwise?: string,
): { base: URL; region: string } {
  const url = URL.parse(address);
  if (url?.protocol !== "s3:" || !url.hostname) {
    throw new HttpError("refused", "that is no address of a bucket: s3://…");
  }
  const given = url.searchParams.get("endpoint");
  const bucket = url.hostname;
  const named = url.searchParams.get("region") ?? otherwise;
  const region = named || regionOf(given ?? "");
  const text = given || `https://s3.${region}.amazonaws.com`;
  const base = URL.parse(text.includes("://") ? text : `https://${text}`);
  if (!base || !/^https?:$/.test(base.protocol)) {
    throw new HttpError("refused", "the endpoint of the bucket is no address");
  }
  base.username =
    base.password =
    base.search =
    base.hash =
      "";
  const below = [base.pathname, url.pathname];
  const aws = /\.amazonaws\.com(\.cn)?$/.test(base.hostname);
  // No certificate of AWS's is for names with further dots.
  if (aws && !bucket.includes(".")) {
    base.hostname = `${bucket}.${base.hostname}`;
  } else below.splice(1, 0, bucket);
  base.pathname = below.map((it) => it.replace(/^\/+|\/+$/g, ""))
    .filter((it) => it).join("/");
  return { base, region };
}

/** Most endpoints name their region; others do not mind, or have none. */
function regionOf(endpoint: string): string {
  if (/\.r2\.cloudflarestorage\.com\b/.test(endpoint)) return "auto";
  const aws = /\bs3[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com/;
  return aws.exec(endpoint)?.[1] ?? "us-east-1";
}

function signer(
  credentials: S3Credentials,
  region: string,
): NonNullable<Dialect["sign"]> {
  // The keys that are derived from the secret, by day.
  const cache = new Map<string, ArrayBuffer>();
  return async (method, url, hash) => {
    const { AwsV4Signer } = await import("aws4fetch").catch(() => {
      throw new HttpError("down", "the npm package aws4fetch cannot be loaded");
    });
    const payload = url.protocol === "https:" ? "UNSIGNED-PAYLOAD" : hash;
    const signed = await new AwsV4Signer({
      ...credentials,
      method,
      url: url.href,
      // Nothing else: what a proxy may change must not be signed.
      headers: { "x-amz-content-sha256": payload },
      service: "s3",
      region,
      cache,
    }).sign();
    const headers = Object.fromEntries(signed.headers);
    delete headers.host;
    return headers;
  };
}

function s3Error(
  method: string,
  status: number,
  code: string,
): HttpError | undefined {
  const said = `the server answered ${method} with ${status} (${code})`;
  switch (code) {
    case "NoSuchBucket":
      return new HttpError("refused", `${said}: there is no such bucket`);
    case "RequestTimeout":
    case "SlowDown":
      return new HttpError("down", said, { again: true });
  }
  // Only that is a miss: versitygw answers an unknown user with 404.
  return status === 404 && code !== "NoSuchKey"
    ? new HttpError("refused", said)
    : undefined;
}
