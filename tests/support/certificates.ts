import { run } from "./command.ts";

/** PEM files in a directory, for servers; and what is in them, for clients. */
export interface Certificates {
  /** Paths. */
  readonly files: {
    readonly ca: string;
    readonly cert: string;
    readonly key: string;
  };
  /** The authority that made all of them. */
  readonly ca: string;
  /** A client's own. */
  readonly cert: string;
  readonly key: string;
}

/** Makes an authority, a certificate for a server on loopback, and one for a client. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  await openssl(
    ["req", "-x509", "-days", "2", "-subj", "/CN=authority of a test"],
    [...newKey(dir, "ca"), "-out", `${dir}/ca.pem`],
  );
  await issue(dir, "server", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  await issue(dir, "client", "extendedKeyUsage=clientAuth\n");
  const read = (name: string) => Deno.readTextFileSync(`${dir}/${name}.pem`);
  return {
    files: {
      ca: `${dir}/ca.pem`,
      cert: `${dir}/server.pem`,
      key: `${dir}/server-key.pem`,
    },
    ca: read("ca"),
    cert: read("client"),
    key: read("client-key"),
  };
}

async function issue(dir: string, name: string, extensions: string) {
  Deno.writeTextFileSync(`${dir}/${name}.ext`, extensions);
  await openssl(
    ["req", "-new", "-subj", `/CN=${name} of a test`],
    [...newKey(dir, name), "-out", `${dir}/${name}.csr`],
  );
  await openssl(
    ["x509", "-req", "-days", "2", "-CAcreateserial"],
    ["-CA", `${dir}/ca.pem`, "-CAkey", `${dir}/ca-key.pem`],
    ["-in", `${dir}/${name}.csr`, "-extfile", `${dir}/${name}.ext`],
    ["-out", `${dir}/${name}.pem`],
  );
}

function newKey(dir: string, name: string): string[] {
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  return [...kind, "-nodes", "-keyout", `${dir}/${name}-key.pem`];
}

async function openssl(...args: string[][]): Promise<void> {
  const { code, stderr } = await run(["openssl", ...args.flat()]);
  if (code !== 0) throw new Error(`openssl: ${stderr}`);
}
