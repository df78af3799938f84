// deno-lint-ignore-file no-console -- a script, whose words are for people
// sbom.ts: prints what a binary is made of, as CycloneDX JSON: Deno, and the packages
// that lib/ imports, with what these import, as deno.lock has them.

const root = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFileSync(new URL(path, root));

const { name, version, imports } = JSON.parse(read("deno.json"));
const lock: Lock = JSON.parse(read("deno.lock"));
const deno = read(".dvmrc").trim();

interface Lock {
  /** The version that was chosen for each specifier. */
  specifiers: Record<string, string>;
  jsr: Record<string, { integrity: string; dependencies?: string[] }>;
}

const components = [...packagesOf(importedBy("lib/"))].sort().map((id) => {
  const [, scope, rest, chosen] = /^@([^/]+)\/(.+)@(.+)$/.exec(id)!;
  return {
    "type": "library",
    "name": `@${scope}/${rest}`,
    "version": chosen,
    "bom-ref": `jsr:${id}`,
    // There is no kind "jsr" of package URLs.
    "purl": `pkg:generic/%40${scope}/${rest}@${chosen}` +
      `?download_url=${encodeURIComponent(`https://jsr.io/@${scope}/${rest}`)}`,
    // As in deno.lock: of the package's manifest, which has those of its files.
    "hashes": [{ "alg": "SHA-256", "content": lock.jsr[id]!.integrity }],
  };
});

/** The names that our modules import, of those in deno.json. */
function importedBy(folder: string): Set<string> {
  const found = new Set<string>();
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, root))) {
    const path = folder + name;
    if (isDirectory) {
      for (const it of importedBy(`${path}/`)) found.add(it);
    } else {
      // Not those of examples in comments.
      const lines = /^(?!\s*\*).*from "(@std\/[a-z]+)/gm;
      for (const [, it] of read(path).matchAll(lines)) found.add(it!);
    }
  }
  return found;
}

/** With what each of them imports. */
function packagesOf(names: Iterable<string>): Set<string> {
  const ids = new Set<string>();
  const add = (specifier: string) => {
    // The lock file writes ^0.224.14 as ~0.224.14, which is the same.
    const chosen = lock.specifiers[specifier] ??
      lock.specifiers[specifier.replace("@^0.", "@~0.")];
    if (!chosen) throw new Error(`deno.lock has no ${specifier}`);
    const id = `${/^jsr:(@[^@]+)/.exec(specifier)![1]}@${chosen}`;
    if (ids.has(id)) return;
    ids.add(id);
    lock.jsr[id]!.dependencies?.forEach(add);
  };
  for (const it of names) add(imports[it]);
  return ids;
}

console.log(JSON.stringify(
  {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        "type": "application",
        name,
        version,
        "bom-ref": `jsr:${name}@${version}`,
        "licenses": [{ license: { id: "MIT" } }],
      },
    },
    components: [{
      "type": "platform",
      "name": "deno",
      "version": deno,
      "bom-ref": `deno@${deno}`,
      "purl": `pkg:github/denoland/deno@v${deno}`,
      "licenses": [{ license: { id: "MIT" } }],
    }, ...components],
    dependencies: [{
      ref: `jsr:${name}@${version}`,
      dependsOn: [
        `deno@${deno}`,
        ...components.map((it) => it["bom-ref"]),
      ],
    }],
  },
  null,
  2,
));
