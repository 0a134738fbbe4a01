/** What pictures are put through, and what has to come out of it. */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { convert, extract, type FormatCase, optimize, validate } from "./format-case.ts";

const shown = (format: string, more: JsonObject = {}): unknown => expect.objectContaining({ format, size: [64, 48], ...more });
const imageTypes = { "image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/avif": "AVIF" };
const halves = { left: "red", right: "blue" };

export const images: readonly FormatCase[] = [
  validate("picture.png", { media_types: ["image/*"], max_pixels: 3072 }),
  validate("photo.jpg", { max_pixels: 3071 }, { valid: false, violations: [{ rule: "max_pixels" }] }),
  extract("picture.png", "METADATA", { format: "png", width: 64, height: 48, pixels: 3072, frames: 1, channels: 4, has_alpha: true, has_metadata: false }),
  extract("photo.jpg", "METADATA", { format: "jpeg", width: 48, height: 64, orientation: 6, has_metadata: true }),
  extract("picture.webp", "METADATA", { format: "webp", width: 64, height: 48, has_alpha: true }),
  extract("moving.webp", "METADATA", { format: "webp", width: 32, height: 32, frames: 3, pixels: 3072 }),
  extract("picture.avif", "METADATA", { format: "avif", width: 64, height: 48, has_alpha: false }),
  ...Object.entries(imageTypes).flatMap(([to, format]) => [
    convert("picture.png", to, "image", shown(format, { colours: expect.objectContaining({ left: format === "JPEG" ? "white" : "clear", right: "blue" }) })),
    convert("picture.webp", to, "image", shown(format, { colours: expect.objectContaining({ left: format === "JPEG" ? "white" : "clear", right: "blue" }) })),
    convert("picture.avif", to, "image", shown(format, { colours: expect.objectContaining(halves) })),
    convert("photo.jpg", to, "image", shown(format, { size: [48, 64], colours: expect.objectContaining({ top: "red", bottom: "blue" }), author: null })),
  ]),
  convert("moving.webp", "image/webp", "image", expect.objectContaining({ format: "WEBP", frames: 3, size: [32, 32] })),
  optimize("photo.jpg", { max_width: 24, quality: 70 }, "image/jpeg", { kind: "image" }, shown("JPEG", { size: [24, 32], orientation: null, author: null })),
  optimize("photo.jpg", { keep_metadata: true, quality: 50 }, "image/jpeg", { kind: "image" }, shown("JPEG", { size: [48, 64], author: "An Author" })),
  optimize("picture.png", { max_height: 24 }, "image/png", { kind: "image" }, shown("PNG", { size: [32, 24] })),
  optimize("picture.webp", { quality: 10 }, "image/webp", { kind: "image" }, shown("WEBP")),
  optimize("picture.avif", { max_width: 16 }, "image/avif", { kind: "image" }, shown("AVIF", { size: [16, 12] })),
];
