"""From candidates to lists: merge what the sources bring, score it, order it by the rules, say why."""
