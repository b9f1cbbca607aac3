"""The Litestar application."""

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from backend.api import audit, evacuations, events, fleet, health, migrations, rescue
from backend.api.access import TokenMiddleware
from backend.api.context import Context
from backend.tokens import Token
from wire.server import EXCEPTION_HANDLERS


def make_app(context: Context, tokens: tuple[Token, ...]) -> Litestar:
    """Put the API together; the OpenAPI document is at ``/schema/openapi.json``."""

    async def provide_context() -> Context:
        return context

    return Litestar(
        route_handlers=[
            Router(
                "/v1",
                route_handlers=[
                    *fleet.ROUTES,
                    *migrations.ROUTES,
                    *health.ROUTES,
                    *rescue.ROUTES,
                    *evacuations.ROUTES,
                    *audit.ROUTES,
                    *events.ROUTES,
                ],
            )
        ],
        dependencies={"context": Provide(provide_context)},
        middleware=[DefineMiddleware(TokenMiddleware, tokens=tokens)],
        exception_handlers=EXCEPTION_HANDLERS,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Godwit",
            version=context.version,
            render_plugins=[JsonRenderPlugin()],
        ),
    )
