import {
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";

/**
 * How many bytes a message is on the wire. Its contents are not copied to find out, as
 * they would be by encoding it.
 */
export function messageSize(schema: DescMessage, message: Message): number {
  const fields = message as Message & Readonly<Record<string, unknown>>;
  let size = 0;
  for (const field of schema.fields) {
    size += fieldSize(field, fields[field.localName]);
  }
  // What a newer server sends beyond what we know.
  for (const { no, data } of message.$unknown ?? []) {
    size += tagSize(no) + data.length;
  }
  return size;
}

function fieldSize(field: DescField, value: unknown): number {
  if (value === undefined) return 0;
  const tag = tagSize(field.number);
  switch (field.fieldKind) {
    case "message":
      return tag + delimited(messageSize(field.message, value as Message));
    case "scalar":
    case "enum": { // What has its default is left out.
      const isDefault = !value || (value as Uint8Array).length === 0;
      return isDefault ? 0 : tag + valueSize(field, value);
    }
    case "list": {
      const sizes = (value as unknown[]).map((it) => valueSize(field, it));
      const sum = sizes.reduce((a, b) => a + b, 0);
      if (sizes.length === 0) return 0;
      return field.packed ? tag + delimited(sum) : sum + tag * sizes.length;
    }
    default: // maps: our messages have none
      return 0;
  }
}

/** A value without its tag. */
function valueSize(field: DescField, value: unknown): number {
  if (field.message) {
    return delimited(messageSize(field.message, value as Message));
  }
  switch (field.scalar) {
    case ScalarType.BYTES:
      return delimited((value as Uint8Array).length);
    case ScalarType.STRING:
      return delimited(utf8Size(value as string));
    default: // booleans, integers, enums
      return varintSize(BigInt(value as number | bigint | boolean));
  }
}

function tagSize(number: number): number {
  return number < 16 ? 1 : varintSize(BigInt(number) << 3n);
}

function delimited(size: number): number {
  return varintSize(BigInt(size)) + size;
}

function varintSize(value: bigint): number {
  let size = 1;
  for (let rest = BigInt.asUintN(64, value); rest > 127n; rest >>= 7n) size++;
  return size;
}

const encoder = new TextEncoder();
const scratch = new Uint8Array(256);

function utf8Size(text: string): number {
  const isShort = text.length * 3 <= scratch.length;
  if (isShort) return encoder.encodeInto(text, scratch).written;
  return encoder.encode(text).length;
}
