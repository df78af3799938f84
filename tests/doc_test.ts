// The generated pages of the library: what comes first, and that nothing lacks an example.
import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { must } from "./support/command.ts";
import { test } from "./support/needs.ts";
import { TempDir } from "./support/temp_dir.ts";

const MOD = fromFileUrl(new URL("../mod.ts", import.meta.url));

/** What a reader looks for. */
const CATEGORIES = [
  "Directories",
  "Trees",
  "Keyed cache",
  "Remote",
  "Locks",
  "Errors",
  "Log",
];

/** What is given to the library, and not called by its user. */
const GIVEN = ["LogSink", "Remote", "RemoteSink", "RemoteSource"];

interface Documented {
  readonly name: string;
  readonly kind: string;
  readonly jsDoc?: {
    readonly doc?: string;
    readonly tags?: readonly { readonly kind: string; readonly doc?: string }[];
  };
}

interface Exported extends Documented {
  readonly declarations: readonly (Documented & {
    readonly def: { readonly methods?: readonly Documented[] };
  })[];
}

function denoDoc(...args: string[]): Promise<string> {
  const map = Deno.env.get("REBUILD_CACHE_IMPORT_MAP");
  const how = ["--no-lock", ...map ? [`--import-map=${map}`] : []];
  return must(Deno.execPath(), "doc", ...how, ...args, MOD);
}

function tagsOf({ jsDoc }: Documented, kind: string): string[] {
  const tags = jsDoc?.tags ?? [];
  return tags.filter((it) => it.kind === kind).map(({ doc }) => doc ?? "");
}

test(
  "Each exported symbol has a category, and each function, class and method an example",
  [
    "deno run",
  ],
  async () => {
    const { nodes } = JSON.parse(await denoDoc("--json"));
    const [{ symbols }] = Object.values(nodes) as [{ symbols: Exported[] }];
    assert(symbols.length > 50);
    const missing: string[] = [];
    for (const { name, declarations } of symbols) {
      for (const declaration of declarations) {
        const { kind, def } = declaration;
        const [category = ""] = tagsOf(declaration, "category");
        const isKnown = CATEGORIES.includes(category.trim());
        if (!isKnown) missing.push(`${name}: category`);
        const isCallable = kind === "function" || kind === "class";
        if (isCallable && tagsOf(declaration, "example").length === 0) {
          missing.push(`${name}: example`);
        }
        const methods = GIVEN.includes(name) ? [] : def.methods ?? [];
        for (const method of kind === "interface" ? methods : []) {
          if (method.name.startsWith("[")) continue; // disposing
          if (tagsOf(method, "example").length === 0) {
            missing.push(`${name}.${method.name}: example`);
          }
        }
      }
    }
    assertEquals(missing, []);
  },
);

test(
  "The first page of the generated documentation shows clearCache, linkTree and openCache first",
  [
    "deno run",
  ],
  async () => {
    await using dir = TempDir.make();
    await denoDoc(
      "--html",
      "--name=rebuild-cache",
      `--output=${dir.at("doc")}`,
    );
    const page = Deno.readTextFileSync(dir.at("doc", "index.html"));
    const symbols = page.slice(page.indexOf(">Symbols<"));
    const titles = [...symbols.matchAll(/\.html" title="(\w+)"/g)];
    const shown = titles.slice(0, 3).map(([, name]) => name);
    assertEquals(shown, ["clearCache", "linkTree", "openCache"]);
  },
);
