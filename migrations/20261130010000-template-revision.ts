import { Migration } from '@mikro-orm/migrations';

/**
 * A template knows the number of its newest version: the optimistic lock of `expectedVersion`. Row-level security is not
 * forced on the owner meanwhile, because otherwise the owner would see no row to fill in.
 */
export class TemplateRevision extends Migration {
  override up(): void {
    this.addSql(`alter table "notification_template" add column "revision" int not null default 1`);
    this.addSql(`alter table "notification_template" no force row level security`);
    this.addSql(`alter table "notification_template_version" no force row level security`);
    this.addSql(
      `update "notification_template" t set revision = newest.version
       from (select template_id, max(version) as version from "notification_template_version" group by template_id) newest
       where newest.template_id = t.id`,
    );
    this.addSql(`alter table "notification_template" force row level security`);
    this.addSql(`alter table "notification_template_version" force row level security`);
  }

  override down(): void {
    this.addSql(`alter table "notification_template" drop column "revision"`);
  }
}
