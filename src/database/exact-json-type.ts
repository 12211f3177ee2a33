import { Type } from '@mikro-orm/core';

/** A `jsonb` column with values of events or templates: its numbers keep all digits, see `exact-json.ts`. */
export class ExactJsonType extends Type<Record<string, unknown>, string> {
  override convertToDatabaseValue(value: Record<string, unknown>): string {
    return typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
  }

  /** The driver reads `json` without loss, and `jsonb` not. */
  override convertToJSValueSQL(key: string): string {
    return `${key}::json`;
  }

  override compareAsType(): string {
    return 'string';
  }

  override get runtimeType(): string {
    return 'any';
  }

  override getColumnType(): string {
    return 'jsonb';
  }
}
