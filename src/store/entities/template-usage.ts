/** How one version of a template was used in one hour; written by the rollup alone. */
import { defineEntity, p } from "@mikro-orm/core";

export const templateUsageSchema = defineEntity({
  name: "TemplateUsage",
  tableName: "template_usage",
  properties: {
    tenantId: p.text().primary(),
    templateId: p.uuid().primary(),
    version: p.integer().primary(),
    hour: p.datetime(3).primary(),
    started: p.bigint("number").defaultRaw("0"),
    ended: p.bigint("number").defaultRaw("0"),
    completed: p.bigint("number").defaultRaw("0"),
    durations: p.json<Record<string, number>>().defaultRaw("'{}'"),
    failedSteps: p.json<Record<string, number>>().defaultRaw("'{}'"),
    lastStartTime: p.datetime(3).nullable(),
  },
});

export class TemplateUsage extends templateUsageSchema.class {}
templateUsageSchema.setClass(TemplateUsage);
