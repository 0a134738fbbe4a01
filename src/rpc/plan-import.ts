/**
 * What an import would do: which templates of a bundle are new, which of their versions an existing template lacks, and what their
 * bases are here. Versions are the same when their digests are, whatever their numbers; nothing is stored yet.
 */
import type { TemplateBundle, TemplateBundleEntry } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { type ImportConflictPolicy, ImportOutcome, ImportConflictPolicy as Policy } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import { systemIds } from "../base/ids.ts";
import { canonicalJson, type JsonObject } from "../base/json.ts";
import type { ResolvedBase, ResolvedTemplate } from "../domain/templates/resolve-template.ts";
import { readResolved } from "../domain/templates/stored-template.ts";
import type { TemplateImport } from "../store/import-templates.ts";
import { nameTaken } from "../store/new-revision.ts";
import { templateDigest } from "../store/new-template-version.ts";
import type { TemplateRecord, TemplateVersionRecord } from "../store/template-row.ts";
import type { RpcParts } from "./parts.ts";
import { baseOf, findBase, prepareOnBase } from "./template-content.ts";
import { templateContentToJson } from "./wire/template.ts";

export interface PlannedEntry {
  readonly name: string;
  readonly templateId: string;
  readonly outcome: ImportOutcome;
  /** Its newest version afterwards. */
  readonly version: number;
  /** Undefined when nothing is stored of it. */
  readonly store: TemplateImport | undefined;
}

/** A template of the bundle as it will be here: its versions by their number in the bundle. */
interface Arrived {
  readonly templateId: string;
  readonly name: string;
  readonly versions: ReadonlyMap<number, ArrivedVersion>;
  readonly newest: number;
}

interface ArrivedVersion {
  readonly version: number;
  /** Read only when something inherits from it. */
  readonly resolve: () => Promise<ResolvedTemplate>;
}

interface Existing {
  readonly template: TemplateRecord;
  /** Newest first, without their content. */
  readonly versions: readonly TemplateVersionRecord[];
}

const versionsMax = 1_000;

/** @throws AppError BUNDLE_INVALID with the path, NAME_TAKEN, definition reasons */
export async function planImport(parts: RpcParts, caller: Caller, bundle: TemplateBundle, policy: ImportConflictPolicy): Promise<PlannedEntry[]> {
  if (bundle.formatVersion !== "" && bundle.formatVersion !== "v1")
    throw invalid("bundle.format_version", `"${bundle.formatVersion}" is not known; this server reads v1`);
  const arrived = new Map<string, Arrived>();
  const planned: PlannedEntry[] = [];
  for (const [index, entry] of bundle.entries.entries()) {
    const path = `bundle.entries[${index}]`;
    const name = entry.template?.name ?? "";
    if (name === "" || planned.some((other) => other.name === name))
      throw invalid(`${path}.template.name`, name === "" ? "is required" : `"${name}" stands in the bundle twice`);
    const existing = await readExisting(parts, caller, name);
    const policyFails = policy === Policy.FAIL || policy === Policy.UNSPECIFIED;
    if (existing && policyFails) throw nameTaken(name);
    const { plan, arrival } = await planEntry(parts, caller, entry, existing, policy === Policy.NEW_VERSION, arrived, path);
    planned.push(plan);
    arrived.set(name, arrival);
    // Inside a bundle bases may be named by the ids they had where it was made.
    if (entry.template?.id) arrived.set(entry.template.id, arrival);
  }
  return planned;
}

async function planEntry(
  parts: RpcParts,
  caller: Caller,
  entry: TemplateBundleEntry,
  existing: Existing | undefined,
  mayPublish: boolean,
  arrived: ReadonlyMap<string, Arrived>,
  path: string,
): Promise<{ readonly plan: PlannedEntry; readonly arrival: Arrived }> {
  const head = entry.template as NonNullable<TemplateBundleEntry["template"]>;
  const templateId = existing?.template.id ?? systemIds.next("template");
  const versions = new Map<number, ArrivedVersion>();
  const added: TemplateImport["versions"][number][] = [];
  let newestHere = existing?.template.latestVersion ?? 0;
  let newestContent: JsonObject | undefined;
  let number = 0;
  for (const [index, version] of entry.versions.entries()) {
    const at = `${path}.versions[${index}]`;
    number = version.version || number + 1;
    if (!version.snapshot) throw invalid(`${at}.snapshot`, "is required");
    if (versions.has(number)) throw invalid(`${at}.version`, `${number} stands in the entry twice`);
    const known = version.digest === "" ? undefined : existing?.versions.find(({ digest }) => digest === version.digest);
    const isNewest = index === entry.versions.length - 1;
    if (known && (!mayPublish || !isNewest || known.version === existing?.template.latestVersion)) {
      versions.set(number, { version: known.version, resolve: () => readKnown(parts, caller, known) });
      continue;
    }
    if (existing && !mayPublish) continue;
    const content = templateContentToJson(version.snapshot);
    const base = await arrivedBase(parts, caller, content, arrived, `${at}.snapshot.base_template`);
    const prepared = await prepareOnBase(parts, caller, content, base, templateId, `${at}.snapshot`);
    const digest = templateDigest(prepared);
    if (version.digest !== "" && version.digest !== digest)
      throw invalid(`${at}.digest`, `the content has the digest ${digest}; the bundle was changed, or a base here is another one`);
    added.push({ content: prepared.content, resolved: inheriting(prepared.resolved), changeNote: version.changeNote });
    versions.set(number, { version: ++newestHere, resolve: async () => prepared.resolved });
    newestContent = content;
  }
  const draft = existing ? undefined : await planDraft(parts, caller, templateContentToJson(head), newestContent, arrived, templateId, `${path}.template`);
  if (!existing && added.length === 0 && !draft) throw invalid(path, "has neither a version nor a definition");
  const outcome = !existing ? ImportOutcome.CREATED : added.length > 0 ? ImportOutcome.NEW_VERSION : ImportOutcome.SKIPPED;
  const { name, displayName, description, category, tags, labels } = head;
  const store = { id: templateId, etag: existing?.template.etag, name, displayName, description, category, tags, labels, versions: added, draft };
  return {
    plan: { name, templateId, outcome, version: newestHere, store: outcome === ImportOutcome.SKIPPED ? undefined : store },
    arrival: { templateId, name, versions, newest: number },
  };
}

/** The head of the bundle where it says something else than its newest version. */
async function planDraft(
  parts: RpcParts,
  caller: Caller,
  content: JsonObject,
  newest: JsonObject | undefined,
  arrived: ReadonlyMap<string, Arrived>,
  templateId: string,
  path: string,
): Promise<TemplateImport["draft"]> {
  if ((content["definition"] === undefined && !baseOf(content)) || (newest && canonicalJson(content) === canonicalJson(newest))) return undefined;
  const base = await arrivedBase(parts, caller, content, arrived, `${path}.base_template`);
  const prepared = await prepareOnBase(parts, caller, content, base, templateId, path);
  return { content: prepared.content, resolved: inheriting(prepared.resolved) };
}

/** A base in the bundle, else one that is here already (the built-in ones are never in a bundle). */
async function arrivedBase(
  parts: RpcParts,
  caller: Caller,
  content: JsonObject,
  arrived: ReadonlyMap<string, Arrived>,
  path: string,
): Promise<ResolvedBase | undefined> {
  const base = baseOf(content);
  if (!base) return undefined;
  const reference = String(base["template"] ?? "");
  const found = arrived.get(reference);
  if (!found) {
    try {
      return await findBase(parts, caller, base, false);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      throw invalid(path, `its base "${reference}" is neither before it in the bundle nor here: ${error.message}`);
    }
  }
  const number = Number(base["version"] ?? 0) || found.newest;
  const version = found.versions.get(number);
  if (!version) throw invalid(path, `version ${number} of "${found.name}" is not in the bundle and not here; export it whole, or import with NEW_VERSION`);
  return { templateId: found.templateId, templateName: found.name, version: version.version, resolved: await version.resolve() };
}

async function readExisting(parts: RpcParts, caller: Caller, name: string): Promise<Existing | undefined> {
  const found = await parts.templates.getTemplate(caller, name);
  if (!found || found.template.builtIn) return undefined;
  const { versions } = await parts.templates.listVersions(caller, found.template.id, { pageSize: versionsMax, parts: "head" });
  return { template: found.template, versions };
}

async function readKnown(parts: RpcParts, caller: Caller, { templateId, version }: TemplateVersionRecord): Promise<ResolvedTemplate> {
  const found = await parts.templates.getTemplate(caller, templateId, { version });
  return readResolved(found?.version?.content ?? {}, found?.version?.resolved);
}

function inheriting(resolved: ResolvedTemplate): ResolvedTemplate | undefined {
  return resolved.bases.length > 0 ? resolved : undefined;
}

function invalid(field: string, description: string): AppError {
  return violationsError([{ field, reason: "BUNDLE_INVALID", description }]);
}
