/**
 * Prints proto/buf/validate/validate.proto from the file descriptor that @bufbuild/protovalidate ships, so that the
 * constraints we write and the library that checks them can never be of two versions, and no network is needed.
 * Comments are not part of a descriptor and therefore missing. Run after an update of the library:
 *
 *   node .ci/print-validate-proto.ts > proto/buf/validate/validate.proto
 */
import { createRegistry, toJson } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldOptionsSchema,
  type FileDescriptorProto,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { file_buf_validate_validate as file } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/** Largest field number; an extension range up to it is written `to max`. Range ends of messages are exclusive. */
const numberMax = 536_870_911;
const registry = createRegistry(file);

interface PredefinedRule {
  readonly id?: string;
  readonly message?: string;
  readonly expression?: string;
}

function printFile(proto: FileDescriptorProto): string {
  if (proto.syntax !== "" && proto.syntax !== "proto2") throw new Error(`cannot print syntax ${proto.syntax}`);
  const options = proto.options;
  const blocks = [
    [
      "// Printed by .ci/print-validate-proto.ts from the descriptor in @bufbuild/protovalidate. Do not edit.",
      "// Protovalidate is Copyright Buf Technologies, Inc., licensed under the Apache License, Version 2.0.",
    ].join("\n"),
    'syntax = "proto2";',
    `package ${proto.package};`,
    proto.dependency.map((path) => `import "${path}";`).join("\n"),
    [
      `option go_package = ${quote(options?.goPackage)};`,
      `option java_multiple_files = ${options?.javaMultipleFiles ?? false};`,
      `option java_outer_classname = ${quote(options?.javaOuterClassname)};`,
      `option java_package = ${quote(options?.javaPackage)};`,
    ].join("\n"),
    ...extensionsByExtendee(proto.extension),
    ...proto.messageType.map((message) => printMessage(message, "")),
    ...proto.enumType.map((enumeration) => printEnum(enumeration, "")),
  ];
  return `${blocks.join("\n\n")}\n`;
}

function extensionsByExtendee(extensions: readonly FieldDescriptorProto[]): string[] {
  const extendees = [...new Set(extensions.map((extension) => extension.extendee))];
  return extendees.map((extendee) => {
    const fields = extensions.filter((extension) => extension.extendee === extendee);
    return block(
      `extend ${typeText(extendee)}`,
      fields.map((field) => printField(field, "  ")),
      "",
    );
  });
}

function printMessage(message: DescriptorProto, indent: string): string {
  const inner = `${indent}  `;
  const printedOneofs = new Set<number>();
  const lines = [...message.nestedType.map((nested) => printMessage(nested, inner)), ...message.enumType.map((nested) => printEnum(nested, inner))];
  for (const field of message.field) {
    const index = oneofIndexOf(field);
    if (index === undefined) lines.push(printField(field, inner));
    else if (!printedOneofs.has(index)) {
      printedOneofs.add(index);
      const members = message.field.filter((member) => oneofIndexOf(member) === index);
      lines.push(
        block(
          `oneof ${message.oneofDecl[index]?.name}`,
          members.map((member) => printField(member, `${inner}  `)),
          inner,
        ),
      );
    }
  }
  for (const { start, end } of message.extensionRange) lines.push(`${inner}extensions ${rangeText(start, end - 1)};`);
  for (const { start, end } of message.reservedRange) lines.push(`${inner}reserved ${rangeText(start, end - 1)};`);
  if (message.reservedName.length > 0) lines.push(`${inner}reserved ${message.reservedName.map(quote).join(", ")};`);
  return block(`message ${message.name}`, lines, indent);
}

function printEnum(enumeration: EnumDescriptorProto, indent: string): string {
  const lines = enumeration.value.map((value) => `${indent}  ${value.name} = ${value.number};`);
  // Unlike those of messages, reserved ranges of enums include their end.
  for (const { start, end } of enumeration.reservedRange) lines.push(`${indent}  reserved ${rangeText(start, end)};`);
  if (enumeration.reservedName.length > 0) lines.push(`${indent}  reserved ${enumeration.reservedName.map(quote).join(", ")};`);
  return block(`enum ${enumeration.name}`, lines, indent);
}

function printField(field: FieldDescriptorProto, indent: string): string {
  if (field.defaultValue !== "") throw new Error(`cannot print the default of ${field.name}`);
  const label = oneofIndexOf(field) === undefined ? `${Label[field.label].toLowerCase()} ` : "";
  const type = field.typeName === "" ? Type[field.type].toLowerCase() : typeText(field.typeName);
  return `${indent}${label}${type} ${field.name} = ${field.number}${printOptions(field, indent)};`;
}

/** The library knows one option of its own, `predefined`: the expression that a standard rule stands for. */
function printOptions(field: FieldDescriptorProto, indent: string): string {
  if (!field.options) return "";
  const { "[buf.validate.predefined]": predefined, ...unknown } = toJson(FieldOptionsSchema, field.options, { registry }) as {
    readonly "[buf.validate.predefined]"?: { readonly cel?: readonly PredefinedRule[] };
  };
  if (Object.keys(unknown).length > 0) throw new Error(`cannot print options ${Object.keys(unknown)} of ${field.name}`);
  const rules = (predefined?.cel ?? []).map((rule) => {
    const parts = Object.entries(rule).map(([name, text]) => `\n${indent}    ${name}: ${quote(text as string)}`);
    return `\n${indent}  (buf.validate.predefined).cel = {${parts.join("")}\n${indent}  }`;
  });
  return rules.length === 0 ? "" : ` [${rules.join(",")}\n${indent}]`;
}

function oneofIndexOf(field: FieldDescriptorProto): number | undefined {
  return Object.hasOwn(field, "oneofIndex") ? field.oneofIndex : undefined;
}

function block(head: string, lines: readonly string[], indent: string): string {
  return [`${indent}${head} {`, ...lines, `${indent}}`].join("\n");
}

function rangeText(start: number, end: number): string {
  if (start === end) return String(start);
  return `${start} to ${end === numberMax ? "max" : end}`;
}

/** Names of this package need no prefix; others are written in full without the leading dot. */
function typeText(typeName: string): string {
  return typeName.replace(/^\.(buf\.validate\.)?/, "");
}

function quote(text: string | undefined): string {
  return JSON.stringify(text ?? "");
}

process.stdout.write(printFile(file.proto));
