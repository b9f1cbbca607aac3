"""Who calls, and what they may do: every call needs a token, acts need an operator's."""

import logging
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from backend.tokens import Token, find_token
from wire.errors import ErrorCode, GodwitError
from wire.role import Role
from wire.server import bearer_token

_log = logging.getLogger(__name__)

Connection = ASGIConnection[Any, Any, Any, Any]
CallerRequest = Request[Token, None, Any]
"""A request after authentication: ``request.user`` is the caller's token entry."""


class TokenMiddleware(AbstractAuthenticationMiddleware):
    """Finds the caller by the bearer token."""

    def __init__(self, app: ASGIApp, tokens: tuple[Token, ...]) -> None:
        super().__init__(app)
        self._tokens = tokens

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Name the caller.

        Raises:
            GodwitError: UNAUTHENTICATED.
        """
        presented = bearer_token(connection)
        if not presented:
            raise GodwitError(
                ErrorCode.UNAUTHENTICATED, "no token was sent (Authorization: Bearer <token>)"
            )
        token = find_token(self._tokens, presented)
        if token is None:
            raise GodwitError(ErrorCode.UNAUTHENTICATED, "the token is not one of this backend's")
        return AuthenticationResult(user=token, auth=None)


def operators_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard of every call that changes something; who is refused is told in the log.

    Raises:
        GodwitError: FORBIDDEN for a viewer.
    """
    token: Token = connection.user
    if token.role is not Role.OPERATOR:
        _log.warning("%s, a %s, was refused %r", token.name, token.role, connection.url.path)
        raise GodwitError(
            ErrorCode.FORBIDDEN,
            f"the token {token.name!r} is a {token.role}'s and may only look; this needs an "
            "operator's",
        )
