"""
Pages for people: the status page, a page for each target, both as JSON, and a calendar.

`site` answers requests; `overview` and `target` make the pages, which are HTML that
works without scripts; `timeline` draws; `markup` escapes foreign text.
"""
