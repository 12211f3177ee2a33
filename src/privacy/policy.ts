export const RECIPIENTS_AT_REST = ['plain', 'masked', 'hashed', 'encrypted'] as const;
export type RecipientsAtRest = (typeof RECIPIENTS_AT_REST)[number];

/** A tenant's policy for personal data: what is stored, and for how long. */
export interface PrivacyPolicy {
  /**
   * How a finished delivery record stores addresses. Before the end they are needed for sending. The user id is kept,
   * because erasure finds a person by it.
   */
  recipients?: RecipientsAtRest;
  /** True to keep the variables of an event after its delivery has finished. */
  params?: 'keep' | 'until_end';
  /** Days after which a delivery record is anonymised; null for never. */
  anonymiseAfterDays?: number | null;
  /** Days after which delivery records, notifications, rejected events and captured messages are deleted; null for never. */
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
