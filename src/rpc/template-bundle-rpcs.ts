/** TemplateService: templates as bundles, to carry them from one tenant or installation to another. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type TemplateBundle, TemplateBundleEntrySchema, TemplateBundleSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import {
  ExportTemplatesResponseSchema,
  ImportedTemplateSchema,
  ImportTemplatesResponseSchema,
  type TemplateService,
} from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import type { TemplateRecord, TemplateVersionRecord } from "../store/template-row.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { planImport } from "./plan-import.ts";
import { baseOf, templateNotFound } from "./template-content.ts";
import { templateToMessage, templateVersionToMessage } from "./wire/template.ts";
import { timestampOf } from "./wire/time.ts";

type BundleRpcs = Pick<ServiceImpl<typeof TemplateService>, "exportTemplates" | "importTemplates">;

const entriesMax = 1_000;
const versionPage = 50;
/** Rounds of an import that meets changes of the same templates. */
const roundsMax = 5;

interface Exported {
  readonly template: TemplateRecord;
  /** Newest first. */
  readonly versions: readonly TemplateVersionRecord[];
}

interface Collected {
  /** By id, each behind its bases. */
  readonly templates: Map<string, Exported>;
  /** Names by id of the built-in templates that they inherit from. */
  readonly builtIns: Map<string, string>;
  readonly latestOnly: boolean;
  /** Of JSON read so far. */
  bytes: number;
}

export function templateBundleRpcs(parts: RpcParts): BundleRpcs {
  const { templates } = parts;
  return {
    async exportTemplates(request, context) {
      const caller = callerOf(context);
      const collected: Collected = { templates: new Map(), builtIns: new Map(), latestOnly: request.latestOnly, bytes: 0 };
      const references = request.templates.length > 0 ? request.templates : await everyOwn(caller);
      for (const reference of references) await collect(caller, reference, false, collected, []);
      const bundle = create(TemplateBundleSchema, {
        formatVersion: "v1",
        createTime: timestampOf(parts.clock.now()),
        entries: entriesOf(collected, request.latestOnly),
      });
      refuseTooLarge(bundle);
      return create(ExportTemplatesResponseSchema, { bundle });
    },

    async importTemplates(request, context) {
      const caller = callerOf(context);
      for (let round = 1; ; round++) {
        const planned = await planImport(parts, caller, request.bundle as TemplateBundle, request.onConflict);
        try {
          const imports = planned.flatMap(({ store }) => store ?? []);
          await templates.importTemplates(caller, imports, request.validateOnly);
        } catch (error) {
          // One of the templates was changed between the look and the write.
          if (error instanceof AppError && error.reason === "ETAG_MISMATCH" && round < roundsMax) continue;
          throw error;
        }
        const results = planned.map(({ name, templateId, outcome, version }) => create(ImportedTemplateSchema, { name, templateId, outcome, version }));
        return create(ImportTemplatesResponseSchema, { results });
      }
    },
  };

  async function everyOwn(caller: Caller): Promise<string[]> {
    const page = await templates.listTemplates(caller, { pageSize: entriesMax, filter: { builtIn: false } });
    if (page.more) throw new AppError("PAYLOAD_TOO_LARGE", `there are more than ${entriesMax} templates; export some of them by name`);
    return page.items.map(({ template }) => template.id);
  }

  /** Page by page, so that far more than fits into a bundle is not even read. */
  async function everyVersion(caller: Caller, { id, name }: TemplateRecord, collected: Collected): Promise<TemplateVersionRecord[]> {
    const all: TemplateVersionRecord[] = [];
    for (;;) {
      const beforeVersion = all.at(-1)?.version;
      const { versions } = await templates.listVersions(caller, id, { pageSize: versionPage, beforeVersion });
      all.push(...versions);
      collected.bytes += versions.reduce((sum, { content }) => sum + jsonBytes(content), 0);
      if (!collected.latestOnly && collected.bytes > 2 * limits.pageBytesMax) {
        throw new AppError(
          "PAYLOAD_TOO_LARGE",
          `the bundle would be larger than ${limits.pageBytesMax} bytes (at ${name}); export fewer templates, or latest_only`,
        );
      }
      if (versions.length < versionPage) return all;
    }
  }

  /** The template behind its bases. `deletedToo`: a base that was deleted still belongs to those that inherit from it. */
  async function collect(caller: Caller, reference: string, deletedToo: boolean, collected: Collected, above: readonly string[]): Promise<void> {
    const found = await templates.getTemplate(caller, reference, { showDeleted: deletedToo });
    if (!found) throw templateNotFound(reference);
    const { template } = found;
    if (template.builtIn && above.length === 0) {
      const message = `template ${template.name} is built in: every server has it, so a bundle does not carry it; leave it out`;
      throw new AppError("TEMPLATE_BUILT_IN", message, { metadata: { template: template.name } });
    }
    if (template.builtIn) collected.builtIns.set(template.id, template.name);
    if (template.builtIn || collected.templates.has(template.id) || above.includes(template.id)) return;
    const versions = await everyVersion(caller, template, collected);
    const contents = [...versions.map(({ content }) => content), ...(template.draft ? [template.draft] : [])];
    const bases = new Set(contents.flatMap((content) => String(baseOf(content)?.["template"] ?? "") || []));
    for (const base of bases) await collect(caller, base, true, collected, [...above, template.id]);
    collected.templates.set(template.id, { template, versions });
    if (collected.templates.size > entriesMax)
      throw new AppError("PAYLOAD_TOO_LARGE", `more than ${entriesMax} templates belong to this; export fewer of them`);
  }
}

function entriesOf({ templates, builtIns }: Collected, latestOnly: boolean): TemplateBundle["entries"] {
  const wanted = new Map<string, Set<number>>();
  // Those that inherit come last, so what they are pinned to is known when their bases are looked at.
  for (const { template, versions } of [...templates.values()].reverse()) {
    const pinned = wanted.get(template.id) ?? new Set<number>();
    wanted.set(template.id, pinned);
    for (const version of versions) {
      if (latestOnly && version.version !== template.latestVersion && !pinned.has(version.version)) continue;
      pinned.add(version.version);
      const base = baseOf(version.content);
      const id = String(base?.["template"] ?? "");
      if (base) wanted.set(id, (wanted.get(id) ?? new Set()).add(Number(base["version"])));
    }
  }
  return [...templates.values()].map(({ template, versions }) => {
    const kept = versions.filter(({ version }) => wanted.get(template.id)?.has(version)).toReversed();
    const bare = { ...template, usage: undefined, state: template.latestVersion > 0 ? ("published" as const) : ("draft" as const) };
    const named = (content: JsonObject): JsonObject => withBuiltInName(content, builtIns);
    const head = template.draft ?? versions[0]?.content;
    return create(TemplateBundleEntrySchema, {
      template: templateToMessage(bare, "full", head && named(head)),
      versions: kept.map((version) => ({ ...templateVersionToMessage({ ...version, content: named(version.content) }, bare, "full"), publisher: "" })),
    });
  });
}

/** Built-in templates have other ids in every installation, but the same names. */
function withBuiltInName(content: JsonObject, builtIns: ReadonlyMap<string, string>): JsonObject {
  const base = baseOf(content);
  const name = builtIns.get(String(base?.["template"]));
  return base && name !== undefined ? { ...content, base_template: { ...base, template: name } } : content;
}

function refuseTooLarge(bundle: TemplateBundle): void {
  const bytes = toBinary(TemplateBundleSchema, bundle).length;
  if (bytes > limits.pageBytesMax)
    throw new AppError("PAYLOAD_TOO_LARGE", `the bundle would have ${bytes} bytes, at most ${limits.pageBytesMax} fit; export fewer templates, or latest_only`);
}
