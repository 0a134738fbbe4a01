/** How a template was used in all; written by the rollup alone. */
import { defineEntity, p } from "@mikro-orm/core";

export const templateUsageTotalSchema = defineEntity({
  name: "TemplateUsageTotal",
  tableName: "template_usage_totals",
  properties: {
    tenantId: p.text().primary(),
    templateId: p.uuid().primary(),
    workflows: p.bigint("number").defaultRaw("0"),
    started: p.bigint("number").defaultRaw("0"),
    ended: p.bigint("number").defaultRaw("0"),
    completed: p.bigint("number").defaultRaw("0"),
    durations: p.json<Record<string, number>>().defaultRaw("'{}'"),
    failedSteps: p.json<Record<string, number>>().defaultRaw("'{}'"),
    lastStartTime: p.datetime(3).nullable(),
  },
});

export class TemplateUsageTotal extends templateUsageTotalSchema.class {}
templateUsageTotalSchema.setClass(TemplateUsageTotal);
