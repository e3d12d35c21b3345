import { PanelProps, renderMarkdown } from '@grafana/data';

import { plugin } from './common';

function Text({ options, replaceVariables }: PanelProps) {
  const content = replaceVariables(options.content ?? '');
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderMarkdown(content) }} />;
}

export const text = plugin(Text, 'thresholds');
