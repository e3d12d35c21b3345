"""
What people look at: the status page, a page for each target, the same as JSON, and a calendar.

`site` answers requests; `overview` and `target` make the pages, which are HTML that
works without scripts; `timeline` draws; `markup` is what keeps foreign text from
being markup.
"""
