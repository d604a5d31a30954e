"""Private keys, where they were made: drivers for ``ports.Keys``.

``file`` keeps them in a folder, sealed at rest by the secret that ``seal`` finds; ``folder`` writes private files all
or nothing; ``algorithms`` makes keys and signs with them. HSMs and cloud key services join here, and pass the same
contract suite.
"""
