import type { Database, Transaction } from './database.ts';

/** Groups of partitions that are dropped together: delivery records with their keys and attempts, and audit events. */
export type PartitionKind = 'log' | 'audit';

/** A partition: the records of one month, or all records before the first month. */
export interface Partition {
  /** First day of the month, as `YYYY-MM-DD`; null for the oldest partition. */
  month: string | null;
  /** Smallest id that is not in the partition. */
  upper: string;
}

/** Number of months for which partitions are created ahead: time enough to notice that the job fails. */
const MONTHS_AHEAD = 3;

const PARENTS: Record<PartitionKind, string> = { log: 'notification_log', audit: 'audit_event' };

/** The function belongs to the owner of the tables. Each call creates at most one partition. */
const CREATE = 'select notification_create_partition($1) as created';

/** Creates the partitions of this month and the next ones, unless they exist. @returns the number of new partitions. */
export async function createPartitions(database: Database): Promise<number> {
  for (let count = 0; ; count += 1) {
    const [row] = await database.asWorker((tx) => tx.query<{ created: boolean }>(CREATE, [MONTHS_AHEAD]));
    if (!row?.created) return count;
  }
}

/** Reads the catalog only. The last partition has no upper bound that is past, so it is never listed. */
const SELECT_PAST = `select to_char(to_date(substring(name from '_(\\d{4}_\\d{2})$'), 'YYYY_MM'), 'YYYY-MM-DD') as month, upper
  from (
    select child.relname as name,
      (regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \\(''([0-9a-f-]{36})''\\)'))[1] as upper
    from pg_inherits join pg_class child on child.oid = inhrelid where inhparent = $1::regclass
  ) partition
  where upper <= $2 order by upper`;

/** Lists the partitions whose records are all older than `before`, the smallest id that is kept; the oldest comes first. */
export const partitionsBefore = (tx: Transaction, kind: PartitionKind, before: string): Promise<Partition[]> =>
  tx.query<Partition>(SELECT_PAST, [PARENTS[kind], before]);

/** The function belongs to the owner of the tables, and checks once more that nothing in the partition is unfinished. */
const DROP = 'select notification_drop_partition($1, $2::date) as dropped';

/** Drops a partition. @returns false if it is gone or contains unfinished deliveries. @throws when it is in use too long. */
export async function dropPartition(tx: Transaction, kind: PartitionKind, { month }: Partition): Promise<boolean> {
  const [row] = await tx.query<{ dropped: boolean }>(DROP, [kind, month]);
  return row?.dropped === true;
}
