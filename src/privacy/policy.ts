export const RECIPIENTS_AT_REST = ['plain', 'masked', 'hashed', 'encrypted'] as const;
export type RecipientsAtRest = (typeof RECIPIENTS_AT_REST)[number];

/** What a tenant keeps of people, and for how long. */
export interface PrivacyPolicy {
  /**
   * How the addresses of a delivery record are kept once it is at its end; before, they are needed. The user id stays as
   * it is: it is what a person is known by, and by which they are erased.
   */
  recipients?: RecipientsAtRest;
  /** Whether the variables of an event are kept once it is at its end. */
  params?: 'keep' | 'until_end';
  /** Days after which a delivery record keeps nothing of a person; null: never. */
  anonymiseAfterDays?: number | null;
  /** Days after which delivery records, notifications and what was rejected or captured are removed; null: never. */
  retentionDays?: number | null;
}

export type ResolvedPrivacy = Required<PrivacyPolicy>;

export const DEFAULT_PRIVACY: ResolvedPrivacy = {
  recipients: 'plain',
  params: 'keep',
  anonymiseAfterDays: null,
  retentionDays: null,
};

const days = { type: ['integer', 'null'], minimum: 1, maximum: 3_650 };

export const privacySchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    recipients: { enum: [...RECIPIENTS_AT_REST] },
    params: { enum: ['keep', 'until_end'] },
    anonymiseAfterDays: days,
    retentionDays: days,
  },
};
