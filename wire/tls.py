"""TLS between all programs: both sides show a certificate of the fleet's CA."""

import ssl

from wire.config import ConfigError, TlsFiles


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Context that verifies the server's name against the fleet's CA and shows our certificate.

    Raises:
        ConfigError: a file is missing or is no PEM.
    """
    try:
        context = ssl.create_default_context(cafile=str(files.ca_file))
        context.load_cert_chain(str(files.cert_file), str(files.key_file))
    except (OSError, ssl.SSLError) as error:
        names = f"{files.ca_file}, {files.cert_file}, {files.key_file}"
        raise ConfigError(f"TLS files cannot be used ({names}): {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
