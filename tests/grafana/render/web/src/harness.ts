/** What the driver of the browser gives to the page before it is loaded. */
export interface Harness {
  dashboard: any;
  /** URL of a Prometheus, without a path. */
  prometheus: string;
  theme: 'dark' | 'light';
  /** Values of variables instead of those in the dashboard. */
  chosen: Record<string, string | string[]>;
  /** Links at the top of the page: titles of the dashboards with their tags. */
  others: Array<{ title: string; tags: string[]; uid: string }>;
}

export const harness: Harness = (window as any).harness;
