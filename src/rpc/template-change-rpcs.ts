/** TemplateService: creating, changing, publishing and deleting templates. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type Template, TemplateSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import {
  CreateTemplateResponseSchema,
  DeleteTemplateResponseSchema,
  PublishTemplateResponseSchema,
  RollbackTemplateResponseSchema,
  type TemplateService,
  UndeleteTemplateResponseSchema,
  UpdateTemplateResponseSchema,
} from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { canonicalJson, type Json, type JsonObject } from "../base/json.ts";
import { checkEtag } from "../store/fingerprint.ts";
import type { TemplateUpdate } from "../store/template-changes.ts";
import type { TemplateWithVersion } from "../store/template-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { type PreparedContent, prepareContent, templateNotFound } from "./template-content.ts";
import { contentFields, templateContentToJson, templateToMessage, templateVersionToMessage } from "./wire/template.ts";
import { fieldsToUpdate } from "./wire/update-mask.ts";

type ChangeRpcs = Pick<
  ServiceImpl<typeof TemplateService>,
  "createTemplate" | "updateTemplate" | "publishTemplate" | "rollbackTemplate" | "deleteTemplate" | "undeleteTemplate"
>;

const maskRules = {
  writable: ["name", "display_name", "description", "category", "tags", "labels", ...contentFields],
  outputOnly: ["id", "state", "latest_version", "built_in", "usage", "etag", "create_time", "update_time"],
};
/** A caller without an etag wants its fields changed whatever the others are; each round lost means that another change was made. */
const roundsMax = 20;

export function templateChangeRpcs(parts: RpcParts): ChangeRpcs {
  const { templates } = parts;
  return {
    async createTemplate(request, context) {
      const caller = callerOf(context);
      const wish = request.template as Template;
      const prepared = await prepareContent(parts, caller, templateContentToJson(wish), undefined);
      const { template, version } = await templates.createTemplate(caller, {
        name: wish.name,
        displayName: wish.displayName,
        description: wish.description,
        category: wish.category,
        tags: wish.tags,
        labels: wish.labels,
        ...stored(prepared),
        publish: !request.draftOnly,
        changeNote: request.changeNote,
        dryRun: request.validateOnly,
      });
      const message = templateToMessage(template, "full", version?.content ?? template.draft);
      return create(CreateTemplateResponseSchema, { template: request.validateOnly ? { ...message, id: "" } : message, warnings: prepared.warnings });
    },

    async updateTemplate(request, context) {
      const caller = callerOf(context);
      const changes = request.changes as Template;
      const fields = fieldsToUpdate(TemplateSchema, changes, request.updateMask, maskRules);
      return onHead(caller, request.template, request.etag, async ({ template, version }, etag) => {
        const head = template.draft ?? version?.content;
        const content = contentFields.some((field) => fields.has(field)) ? merged(head ?? {}, changes, fields) : undefined;
        const prepared = content && (await prepareContent(parts, caller, content, { id: template.id, content: head }));
        const changed = await templates.updateTemplate(caller, template.id, {
          ...headFields(changes, fields),
          ...(prepared ? stored(prepared) : {}),
          etag,
          publish: !request.draftOnly,
          changeNote: request.changeNote,
          dryRun: request.validateOnly,
        });
        if (!changed) throw templateNotFound(request.template);
        const message = templateToMessage(changed.template, "full", changed.template.draft ?? changed.version?.content);
        return create(UpdateTemplateResponseSchema, { template: message, warnings: prepared?.warnings ?? [] });
      });
    },

    async publishTemplate(request, context) {
      const caller = callerOf(context);
      return onHead(caller, request.template, request.etag, async ({ template, version: latest }, etag) => {
        if (template.draft === undefined) throw new AppError("NOTHING_TO_PUBLISH", "the template has no draft; update it with draft_only first");
        const prepared = await prepareContent(parts, caller, template.draft, { id: template.id, content: latest?.content });
        if (latest && canonicalJson(latest.content) === canonicalJson(prepared.content)) {
          throw new AppError("NOTHING_TO_PUBLISH", `the draft says the same as version ${latest.version}`);
        }
        const options = { etag, changeNote: request.changeNote, dryRun: request.validateOnly };
        const changed = await templates.updateTemplate(caller, template.id, { ...stored(prepared), ...options });
        if (!changed?.version) throw templateNotFound(request.template);
        return create(PublishTemplateResponseSchema, {
          template: templateToMessage(changed.template, "full", changed.version.content),
          version: templateVersionToMessage(changed.version, changed.template, "full"),
          warnings: prepared.warnings,
        });
      });
    },

    async rollbackTemplate(request, context) {
      const { version, changeNote, etag, validateOnly } = request;
      const note = changeNote || `version ${version} again`;
      const changed = await templates.rollbackTemplate(callerOf(context), request.template, version, { changeNote: note, etag, dryRun: validateOnly });
      if (!changed?.version) throw templateNotFound(request.template);
      return create(RollbackTemplateResponseSchema, {
        template: templateToMessage(changed.template, "full", changed.template.draft ?? changed.version.content),
        version: templateVersionToMessage(changed.version, changed.template, "full"),
      });
    },

    async deleteTemplate(request, context) {
      const { force, etag, validateOnly } = request;
      const template = await templates.deleteTemplate(callerOf(context), request.template, { force, etag, dryRun: validateOnly });
      if (!template) throw templateNotFound(request.template);
      return create(DeleteTemplateResponseSchema, { template: templateToMessage(template, "basic") });
    },

    async undeleteTemplate(request, context) {
      const template = await templates.undeleteTemplate(callerOf(context), request.template, { etag: request.etag, dryRun: request.validateOnly });
      if (!template) throw templateNotFound(request.template);
      return create(UndeleteTemplateResponseSchema, { template: templateToMessage(template, "basic") });
    },
  };

  /**
   * Runs `change` on what the head says now and hands it that etag, so that nothing is written over what was not read. A caller
   * that named an etag loses the race; for one that did not, the change is made again on the new head.
   */
  async function onHead<T>(caller: Caller, reference: string, given: string, change: (head: TemplateWithVersion, etag: string) => Promise<T>): Promise<T> {
    for (let round = 1; ; round++) {
      const found = await templates.getTemplate(caller, reference);
      if (!found) throw templateNotFound(reference);
      if (found.template.builtIn) throw new AppError("TEMPLATE_BUILT_IN", "built-in templates are read only; create your own from a copy of it");
      checkEtag(given, found.template.etag);
      try {
        return await change(found, found.template.etag);
      } catch (error) {
        const lost = error instanceof AppError && error.reason === "ETAG_MISMATCH";
        if (!lost || given !== "" || round >= roundsMax) throw error;
      }
    }
  }
}

function stored({ content, resolved, newBase }: PreparedContent) {
  return { content, resolved: resolved.bases.length > 0 ? resolved : undefined, newBase };
}

/** The head's content with the fields of the mask taken from `changes`; what is not set there is cleared. */
function merged(head: JsonObject, changes: Template, fields: ReadonlySet<string>): JsonObject {
  const given = templateContentToJson(changes);
  const members = contentFields.flatMap((field): [string, Json][] => {
    const value = fields.has(field) ? given[field] : head[field];
    return value === undefined ? [] : [[field, value]];
  });
  return Object.fromEntries(members);
}

/** An empty name is no name: a replacement keeps the one it has. */
function headFields(changes: Template, fields: ReadonlySet<string>): TemplateUpdate {
  return {
    ...(fields.has("name") && changes.name !== "" ? { name: changes.name } : {}),
    ...(fields.has("display_name") ? { displayName: changes.displayName } : {}),
    ...(fields.has("description") ? { description: changes.description } : {}),
    ...(fields.has("category") ? { category: changes.category } : {}),
    ...(fields.has("tags") ? { tags: changes.tags } : {}),
    ...(fields.has("labels") ? { labels: changes.labels } : {}),
  };
}
