/** The links of a dashboard, as Grafana shows them beside its variables. */
import { LinkButton } from '@grafana/ui';

import { harness } from './harness';

interface Shown {
  title: string;
  url: string;
  tooltip?: string;
  icon: any;
}

function shown(link: any): Shown[] {
  if (link.type === 'dashboards') {
    return harness.others
      .filter((other) => link.tags.every((tag: string) => other.tags.includes(tag)))
      .map((other) => ({ title: other.title, url: `/d/${other.uid}`, icon: 'apps' }));
  }
  return [{ title: link.title, url: link.url, tooltip: link.tooltip, icon: 'external-link-alt' }];
}

export function Links({ links }: { links: any[] }) {
  return (
    <>
      {links.flatMap(shown).map(({ title, url, tooltip, icon }) => (
        <LinkButton key={title} href={url} icon={icon} tooltip={tooltip} variant="secondary" fill="outline">
          {title}
        </LinkButton>
      ))}
    </>
  );
}
