import { Migration } from '@mikro-orm/migrations';

/** Adds the built page of an email version: its body as HTML, with layout and partials. */
export class Email extends Migration {
  override up(): void {
    this.addSql(`alter table "notification_template_version" add column "page" text null`);
  }

  override down(): void {
    this.addSql(`alter table "notification_template_version" drop column "page"`);
  }
}
